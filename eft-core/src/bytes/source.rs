use std::sync::Arc;

use super::lanes::Lanes;
use super::lexicon::Lexicon;
use super::node::Node;
use super::session::{ByteSession, Text};
use super::settings::ByteSettings;
use super::shared::Shared;
use super::walk::{Cover, Symbol, Walker, trunk};
use crate::backend::Backend;
use crate::canonical::{AnyTokens, Canonical};
use crate::check;
use crate::{Error, LogitSource, Opened, Prompt, Result, Source, TokenId, TokensOnly, Vocab};

/// A model of tokens as a model of bytes.
struct ByteSource<B: Backend> {
    /// The model as it was given, which renders prompts.
    given: Source<B>,
    /// The same model, which takes token ids.
    model: Source<B>,
    shared: Arc<Shared<B>>,
}

impl<B: Backend> Source<B> {
    /// Returns the model as a source over bytes, which has the same distribution over texts: see [`bytes`](crate::bytes).
    ///
    /// Combinations of models with different tokenizers are made of it. Use one such source wherever a model occurs in them:
    /// the source that another call returns would be run again.
    ///
    /// ```no_run
    /// # fn load(name: &str) -> eft_core::Result<eft_core::Source<eft_core::Host>> { unreachable!() }
    /// let large = load("Llama-3.1-70B")?.bytes()?;
    /// let (tuned, small) = (load("Qwen2.5-0.5B-Instruct")?.bytes()?, load("Qwen2.5-0.5B")?.bytes()?);
    /// let upscaled = &large + (&tuned - &small);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * [`Error::Unsupported`] if the source is a combination or opaque: make bytes of each of its models.
    /// * [`Error::CannotRender`] if the model has no tokenizer, or it is not known which token sequences it makes of texts:
    ///   then [`ByteSettings::covering`] sums over all of them.
    /// * [`Error::BadVocab`] if no token ends a text, or the tokens' bytes are not known.
    pub fn bytes(&self) -> Result<Self> {
        self.bytes_with(ByteSettings::default())
    }

    /// Returns the model as a source over bytes with settings: see [`bytes`](Self::bytes).
    ///
    /// # Errors
    /// * Any error of [`bytes`](Self::bytes), such as a tokenizer that is not known well enough.
    /// * [`Error::InvalidParameter`] if a share is not at least 0 and less than 1, or both shares are given.
    /// * [`Error::BadVocab`] if a control has no tokens, or one that the model does not have.
    pub fn bytes_with(&self, settings: ByteSettings) -> Result<Self> {
        settings.validate()?;
        let name = self.name();
        let (model, renderer) = self.single_model("bytes")?;
        let of_tokens = model.vocab().clone();
        let canonical: Arc<dyn Canonical> = match settings.covering {
            Some(_) => Arc::new(AnyTokens::new(of_tokens.clone())),
            None => renderer.canonical(&name).map_err(naming_the_setting)?,
        };
        let bad = |reason: String| Error::BadVocab { vocab: of_tokens.name().into(), reason };
        let end: Vec<_> = of_tokens.eos().iter().copied().collect();
        let roles = [("<end>".to_owned(), end)].into_iter().chain(settings.controls);
        let (names, controls): (Vec<_>, Vec<_>) = roles.unzip();
        for (name, tokens) in names.iter().zip(&controls) {
            if tokens.is_empty() {
                return Err(bad(format!(
                    "it has no token for `{name}`, so texts of bytes could not have it"
                )));
            }
            if let Some(id) =
                tokens.iter().find(|id| **id as usize >= of_tokens.real() || canonical.is_text(**id))
            {
                return Err(bad(format!("token {id}, for `{name}`, is not one of its special tokens")));
            }
        }
        let lexicon = Lexicon::new(&of_tokens, &*canonical);
        if lexicon.order().is_empty() {
            return Err(bad("no token has bytes".into()));
        }
        let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
        let special = names.into_iter().map(String::into_bytes);
        let count = controls.len() as TokenId;
        let vocab = Vocab::new(format!("bytes of {}", of_tokens.name()), bytes.chain(special))?;
        let vocab = vocab.with_special(super::END..super::END + count)?.with_eos([super::END])?;
        let walker = Walker::new(lexicon, canonical, name.clone());
        let backend = self.backend().clone();
        let ByteSettings { pruned, covering, ahead, work, .. } = settings;
        let vocab = Arc::new(vocab);
        let shared = Shared { backend, vocab, walker, controls, pruned, covering, ahead, work };
        let model = model.rendered_by(TokensOnly)?;
        let source = ByteSource { given: self.clone(), model, shared: Arc::new(shared) };
        Ok(Self::opaque(source).named(format!("{name}/bytes")))
    }
}

/// An error of a tokenizer whose canonical sequences are not known, which names the way out.
fn naming_the_setting(error: Error) -> Error {
    match error {
        Error::CannotRender { term, what, missing } => {
            let missing =
                format!("{missing}; `ByteSettings::covering` sums over all token sequences instead");
            Error::CannotRender { term, what, missing }
        }
        other => other,
    }
}

/// A prompt as the model's session is opened on it.
struct Start {
    ids: Vec<TokenId>,
    text: Text,
    /// What the prompt goes on with, if all sequences are followed.
    rest: Vec<Symbol>,
}

impl Start {
    fn new(ids: Vec<TokenId>, text: Text) -> Self {
        Self { ids, text, rest: Vec::new() }
    }
}

impl<B: Backend> ByteSource<B> {
    fn start(&self, row: usize, prompt: &Prompt) -> Result<Start> {
        let walker = &self.shared.walker;
        let root = Node::root(walker.canonical.start());
        let start = walker.start(root.clone());
        let empty = || Error::EmptyPrompt { term: walker.name.clone(), row };
        if let Prompt::Tokens(ids) = prompt {
            check::within(&walker.name, row, ids, self.shared.vocab.real())?;
            if ids.is_empty() {
                return Err(empty());
            }
            let symbols = ids.iter().map(|id| self.shared.symbol(*id));
            if self.shared.covering.is_some() {
                return self.spelled_out(&symbols.collect::<Vec<_>>(), Text::new(root, start));
            }
            let covers = self.walk(start, symbols)?;
            return self.fixed(&root, Vec::new(), covers);
        }
        let ids = self.given.render(prompt)?;
        if ids.is_empty() {
            return Err(empty());
        }
        // Up to the last special token, the tokens are those of the tokenizer.
        let head = ids.iter().rposition(|id| !walker.canonical.is_text(*id)).map_or(0, |last| last + 1);
        let vocab = self.model.vocab();
        if self.shared.covering.is_some() {
            let fixed = self.fixed_tokens(&ids, head);
            let rest = ids[fixed..].iter().flat_map(|id| vocab.bytes(*id).unwrap_or_default());
            let rest = rest.map(|byte| Symbol::Byte(*byte)).collect();
            return Ok(Start { ids: ids[..fixed].to_vec(), text: Text::new(root, start), rest });
        }
        let bytes = ids[head..].iter().flat_map(|id| vocab.bytes(*id).unwrap_or_default());
        let covers = self.walk(start.clone(), bytes.map(|byte| Symbol::Byte(*byte)))?;
        let is_rendered = |cover: &Cover| {
            let path = cover.node.path(&root);
            cover.depth == 0 && path.iter().map(|node| node.token()).eq(ids[head..].iter().copied())
        };
        match covers.iter().any(is_rendered) {
            true => self.fixed(&root, ids[..head].to_vec(), covers),
            // The tokenizer has made something else of the text than is known of it: its tokens are kept.
            false => Ok(Start::new(ids, Text::new(root, start))),
        }
    }

    /// How many tokens of a prompt are kept if all sequences are followed: those before the first from which on a single token
    /// could reach past the end of the prompt. The first token of all and special ones, which `head` tokens end with, are kept.
    fn fixed_tokens(&self, ids: &[TokenId], head: usize) -> usize {
        let vocab = self.model.vocab();
        let reaches = |first: &usize| {
            let rest = ids[*first..].iter().flat_map(|id| vocab.bytes(*id).unwrap_or_default());
            self.shared.walker.lexicon.has_longer(rest.copied())
        };
        (head.max(1)..ids.len()).find(reaches).unwrap_or(ids.len())
    }

    /// A prompt of symbols, if all sequences are followed. Its first token is the longest that it begins with, since a model has
    /// no distribution for the first token of all.
    fn spelled_out(&self, symbols: &[Symbol], text: Text) -> Result<Start> {
        let walker = &self.shared.walker;
        let bytes = symbols.iter().map_while(|symbol| match symbol {
            Symbol::Byte(byte) => Some(*byte),
            Symbol::Control(_) => None,
        });
        let (first, read) = match symbols.first() {
            Some(Symbol::Control(token)) => (*token, 1),
            Some(Symbol::Byte(byte)) => {
                walker.lexicon.longest(bytes).ok_or_else(|| walker.no_token_for(*byte))?
            }
            None => return Ok(Start::new(Vec::new(), text)),
        };
        Ok(Start { ids: vec![first], text, rest: symbols[read..].to_vec() })
    }

    fn walk(&self, start: Vec<Cover>, symbols: impl Iterator<Item = Symbol>) -> Result<Vec<Cover>> {
        let mut symbols = symbols;
        symbols.try_fold(start, |covers, symbol| self.shared.walker.step(&covers, symbol))
    }

    /// Fixes the tokens that all covers of a prompt begin with, after those of `head`.
    fn fixed(&self, root: &Arc<Node>, head: Vec<TokenId>, covers: Vec<Cover>) -> Result<Start> {
        let walker = &self.shared.walker;
        let possible = walker.possible(&covers)?;
        let trunk = trunk(&possible).unwrap_or_else(|| root.clone());
        let tokens = |node: &Arc<Node>| node.path(root).iter().map(|node| node.token()).collect::<Vec<_>>();
        let ids = [head, tokens(&trunk)].concat();
        if !ids.is_empty() {
            let below =
                covers.into_iter().filter(|c| Arc::ptr_eq(&Node::common(&c.node, &trunk), &trunk)).collect();
            return Ok(Start::new(ids, Text::new(trunk, below)));
        }
        // There is no distribution of the first token of all, so the prompt's tokens are kept.
        let whole = possible.iter().filter(|cover| cover.depth == 0).min_by_key(|cover| cover.node.depth());
        let covers = match whole {
            Some(cover) => vec![cover.clone()],
            None => walker.spelled(&possible, None)?,
        };
        let ids = covers.first().map(|cover| tokens(&cover.node)).unwrap_or_default();
        Ok(Start::new(ids, Text::new(root.clone(), walker.start(root.clone()))))
    }
}

impl<B: Backend> LogitSource for ByteSource<B> {
    type Backend = B;

    fn backend(&self) -> &B {
        &self.shared.backend
    }

    fn vocab(&self) -> &Arc<Vocab> {
        &self.shared.vocab
    }

    fn open(&self, prompts: &[Prompt]) -> Result<Opened<B>> {
        if prompts.is_empty() {
            return Err(Error::EmptyBatch { what: "open" });
        }
        let starts = prompts.iter().enumerate().map(|(row, prompt)| self.start(row, prompt));
        let starts = starts.collect::<Result<Vec<_>>>()?;
        let (mut ids, mut texts, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for start in starts {
            ids.push(Prompt::Tokens(start.ids));
            texts.push(start.text);
            rest.push(start.rest);
        }
        let (session, scores) = self.model.open(&ids)?;
        let Shared { walker, controls, backend, work, .. } = &*self.shared;
        let roots: Vec<_> = texts.iter().map(|text| text.root().clone()).collect();
        let lanes = Lanes::new(session, backend.clone(), roots.clone(), work.clone());
        lanes.record(walker, controls, &roots, &scores)?;
        let (session, scores) = ByteSession::open(self.shared.clone(), lanes, texts, &rest)?;
        Ok((Box::new(session), scores))
    }
}
