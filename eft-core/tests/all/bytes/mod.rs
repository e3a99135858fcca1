//! Models of tokens as models of bytes, compared with sums over all token sequences of tiny vocabularies.
mod canonical;
mod covering;
mod drafts;
mod exact;
mod prompts;
mod sessions;

use std::sync::Arc;

use eft_core::canonical::{AnyTokens, Bpe, BpeTokens, Canonical, PieceRules, Pieces};
use eft_core::{EngineSpec, FnEngine, Host, Prompt, Renderer, Result, Source, TokenId, Vocab};

use crate::common::*;

/// The letters that texts are made of.
pub(super) const LETTERS: &[u8] = b"abc ";
/// The special tokens, in every toy tokenizer.
pub(super) const BEGIN: TokenId = 0;
pub(super) const EOS: TokenId = 1;
const SPECIAL: TokenId = 2;

/// A toy tokenizer: two special tokens, the letters, and the tokens that merges make of them.
#[derive(Clone)]
pub(super) struct Toy {
    pub(super) vocab: Arc<Vocab>,
    pub(super) bpe: Bpe,
    pub(super) canonical: Arc<dyn Canonical>,
}

impl Toy {
    /// Merges pairs of tokens, chosen by numbers: the same merges for the same numbers. A pair whose token exists already is
    /// merged as well, if it has no merge yet.
    pub(super) fn new(choices: &[(usize, usize)]) -> Self {
        Self::with_tokens_up_to(4, choices)
    }

    /// The same with tokens of up to `longest` bytes.
    pub(super) fn with_tokens_up_to(longest: usize, choices: &[(usize, usize)]) -> Self {
        let mut tokens: Vec<Vec<u8>> = vec![b"<s>".to_vec(), b"</s>".to_vec()];
        tokens.extend(LETTERS.iter().map(|letter| vec![*letter]));
        let mut merges = Vec::new();
        for (left, right) in choices {
            let count = tokens.len() - SPECIAL as usize;
            let (left, right) = (SPECIAL as usize + left % count, SPECIAL as usize + right % count);
            let made = [&tokens[left][..], &tokens[right][..]].concat();
            if made.len() > longest || merges.contains(&(left as TokenId, right as TokenId)) {
                continue;
            }
            merges.push((left as TokenId, right as TokenId));
            if !tokens.contains(&made) {
                tokens.push(made);
            }
        }
        let vocab =
            Vocab::new("toy", tokens).unwrap().with_special([BEGIN]).unwrap().with_eos([EOS]).unwrap();
        let bpe = Bpe::new(&vocab, merges).unwrap();
        let canonical = Arc::new(BpeTokens::new(bpe.clone(), Pieces::new(PieceRules::whole())));
        Self { vocab: Arc::new(vocab), bpe, canonical }
    }

    /// The same tokens, in every sequence.
    pub(super) fn any(self) -> Self {
        Self { canonical: Arc::new(AnyTokens::new(self.vocab.clone())), ..self }
    }

    /// The logits of a toy model with this tokenizer. They are flat enough for every text to have some probability.
    pub(super) fn logits(&self, seed: u64, tokens: &[TokenId]) -> Vec<f32> {
        logits(seed, tokens, self.vocab.width()).into_iter().map(|logit| 0.5 * logit).collect()
    }

    pub(super) fn model(&self, seed: u64) -> Source<Host> {
        self.model_of(EngineSpec::new("toy", Host, self.vocab.clone()), seed)
    }

    pub(super) fn model_of(&self, spec: EngineSpec<Host>, seed: u64) -> Source<Host> {
        let toy = self.clone();
        let engine = FnEngine::new(spec, move |row| Ok(toy.logits(seed, &row.tokens)));
        Source::new(engine).rendered_by(self.clone()).unwrap()
    }

    /// The tokens that may follow others, and the logarithms of their probabilities, by what encoding makes of their bytes.
    pub(super) fn next(
        &self,
        seed: u64,
        before: &[TokenId],
        text: &[TokenId],
        any: bool,
    ) -> Vec<(TokenId, f64)> {
        let row = self.logits(seed, &[before, text].concat());
        let allowed = |token: &TokenId| {
            let ids = [text, &[*token]].concat();
            let bytes = self.vocab.decode(&ids);
            *token == EOS || *token >= SPECIAL && (any || self.bpe.encode(&bytes) == Some(ids))
        };
        let allowed: Vec<_> = (0..self.vocab.real() as TokenId).filter(allowed).collect();
        let total: f64 = allowed.iter().map(|token| f64::from(row[*token as usize]).exp()).sum();
        allowed.into_iter().map(|token| (token, f64::from(row[token as usize]) - total.ln())).collect()
    }

    /// The probability that a text begins with these bytes: a sum over all token sequences that cover them.
    pub(super) fn begins_with(
        &self,
        seed: u64,
        before: &[TokenId],
        text: &[TokenId],
        rest: &[u8],
        any: bool,
    ) -> f64 {
        if rest.is_empty() {
            return 1.0;
        }
        let mut sum = 0.0;
        for (token, log_prob) in
            self.next(seed, before, text, any).into_iter().filter(|(token, _)| *token != EOS)
        {
            let bytes = self.vocab.bytes(token).unwrap();
            if bytes.starts_with(rest) {
                sum += log_prob.exp();
            } else if let Some(rest) = rest.strip_prefix(bytes) {
                sum += log_prob.exp() * self.begins_with(seed, before, &[text, &[token]].concat(), rest, any);
            }
        }
        sum
    }

    /// The probability that a text consists of these bytes.
    pub(super) fn is(&self, seed: u64, before: &[TokenId], text: &[TokenId], rest: &[u8], any: bool) -> f64 {
        let next = self.next(seed, before, text, any);
        if rest.is_empty() {
            return next.iter().find(|(token, _)| *token == EOS).unwrap().1.exp();
        }
        let mut sum = 0.0;
        for (token, log_prob) in next.into_iter().filter(|(token, _)| *token != EOS) {
            if let Some(rest) = rest.strip_prefix(self.vocab.bytes(token).unwrap()) {
                sum += log_prob.exp() * self.is(seed, before, &[text, &[token]].concat(), rest, any);
            }
        }
        sum
    }
}

impl Renderer for Toy {
    fn render(&self, _: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        Ok(match prompt {
            Prompt::Text(text) => [vec![BEGIN], self.bpe.encode(text.as_bytes()).unwrap()].concat(),
            Prompt::Tokens(ids) => ids.clone(),
            // As if a template wrote only the last message, without a token that begins it.
            Prompt::Chat(messages) => self.bpe.encode(messages.last().unwrap().content.as_bytes()).unwrap(),
        })
    }

    fn continuation(&self, _: &str, text: &str) -> Result<Vec<TokenId>> {
        Ok(self.bpe.encode(text.as_bytes()).unwrap())
    }

    fn canonical(&self, _: &str) -> Result<Arc<dyn Canonical>> {
        Ok(self.canonical.clone())
    }
}

/// A toy tokenizer with merges that overlap in many ways.
pub(super) fn toy() -> Toy {
    Toy::new(&[(0, 1), (1, 2), (4, 2), (3, 0), (0, 0), (8, 0), (3, 4), (2, 2), (1, 5), (7, 6)])
}

/// Letters as tokens of a source over bytes.
pub(super) fn letters() -> Vec<TokenId> {
    LETTERS.iter().map(|letter| TokenId::from(*letter)).collect()
}
