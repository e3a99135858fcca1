use std::sync::Arc;

use super::lanes::Lanes;
use super::lexicon::Lexicon;
use super::node::Node;
use super::session::{ByteSession, Text};
use super::settings::{ByteSettings, Work};
use super::shared::Shared;
use super::walk::{Cover, Symbol, Walker, trunk};
use crate::backend::Backend;
use crate::check;
use crate::{Error, LogitSource, Opened, Prompt, Result, Source, TokenId, TokensOnly, Vocab};

/// A model of tokens as a model of bytes.
struct ByteSource<B: Backend> {
    /// The model as it was given, which renders prompts.
    given: Source<B>,
    /// The same model, which takes token ids.
    model: Source<B>,
    shared: Arc<Shared<B>>,
    work: Work,
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
    /// * [`Error::CannotRender`] if the model has no tokenizer, or it is not known which token sequences it makes of texts.
    /// * [`Error::BadVocab`] if no token ends a text, or the tokens' bytes are not known.
    pub fn bytes(&self) -> Result<Self> {
        self.bytes_with(ByteSettings::default())
    }

    /// Returns the model as a source over bytes with settings: see [`bytes`](Self::bytes).
    ///
    /// # Errors
    /// * Any error of [`bytes`](Self::bytes), such as a tokenizer that is not known well enough.
    /// * [`Error::InvalidParameter`] if a share to prune is not at least 0 and less than 1.
    /// * [`Error::BadVocab`] if a control has no tokens, or one that the model does not have.
    pub fn bytes_with(&self, settings: ByteSettings) -> Result<Self> {
        settings.validate()?;
        let name = self.name();
        let (model, renderer) = self.single_model("bytes")?;
        let of_tokens = model.vocab().clone();
        let canonical = renderer.canonical(&name)?;
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
        let lexicon = Lexicon::new(of_tokens.clone(), &*canonical);
        if lexicon.order().is_empty() {
            return Err(bad("no token has bytes".into()));
        }
        let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
        let special = names.into_iter().map(String::into_bytes);
        let count = controls.len() as TokenId;
        let vocab = Vocab::new(format!("bytes of {}", of_tokens.name()), bytes.chain(special))?;
        let vocab = vocab.with_special(super::END..super::END + count)?.with_eos([super::END])?;
        let walker = Walker { lexicon, canonical, name: name.clone() };
        let backend = self.backend().clone();
        let shared = Shared { backend, vocab: Arc::new(vocab), walker, controls, pruned: settings.pruned };
        let model = model.rendered_by(TokensOnly)?;
        let source = ByteSource { given: self.clone(), model, shared: Arc::new(shared), work: settings.work };
        Ok(Self::opaque(source).named(format!("{name}/bytes")))
    }
}

/// A prompt as the model's session is opened on it.
struct Start {
    ids: Vec<TokenId>,
    text: Text,
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
            let covers = self.walk(start, ids.iter().map(|id| self.shared.symbol(*id)))?;
            return self.fixed(&root, Vec::new(), covers);
        }
        let ids = self.given.render(prompt)?;
        if ids.is_empty() {
            return Err(empty());
        }
        // Up to the last special token, the tokens are those of the tokenizer.
        let head = ids.iter().rposition(|id| !walker.canonical.is_text(*id)).map_or(0, |last| last + 1);
        let vocab = self.model.vocab();
        let bytes = ids[head..].iter().flat_map(|id| vocab.bytes(*id).unwrap_or_default());
        let covers = self.walk(start.clone(), bytes.map(|byte| Symbol::Byte(*byte)))?;
        let is_rendered = |cover: &Cover| {
            let path = cover.node.path(&root);
            cover.depth == 0 && path.iter().map(|node| node.token()).eq(ids[head..].iter().copied())
        };
        match covers.iter().any(is_rendered) {
            true => self.fixed(&root, ids[..head].to_vec(), covers),
            // The tokenizer has made something else of the text than is known of it: its tokens are kept.
            false => Ok(Start { ids, text: Text::new(root, start) }),
        }
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
            return Ok(Start { ids, text: Text::new(trunk, below) });
        }
        // There is no distribution of the first token of all, so the prompt's tokens are kept.
        let whole = possible.iter().filter(|cover| cover.depth == 0).min_by_key(|cover| cover.node.depth());
        let covers = match whole {
            Some(cover) => vec![cover.clone()],
            None => walker.spelled(&possible, None)?,
        };
        let ids = covers.first().map(|cover| tokens(&cover.node)).unwrap_or_default();
        Ok(Start { ids, text: Text::new(root.clone(), walker.start(root.clone())) })
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
        let (ids, texts): (Vec<_>, Vec<_>) =
            starts.into_iter().map(|s| (Prompt::Tokens(s.ids), s.text)).unzip();
        let (session, scores) = self.model.open(&ids)?;
        let roots: Vec<_> = texts.iter().map(|text| text.root().clone()).collect();
        let lanes = Lanes::new(session, self.shared.backend.clone(), roots.clone(), self.work.clone());
        lanes.record(&self.shared.walker, &self.shared.controls, &roots, &scores, 0)?;
        let (session, scores) = ByteSession::open(self.shared.clone(), lanes, texts)?;
        Ok((Box::new(session), scores))
    }
}
