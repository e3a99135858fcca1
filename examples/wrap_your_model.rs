//! Inference code of your own becomes a source: a dozen lines of [`Engine`], three dozen of [`Session`], and whatever
//! takes a source (streaming, batches, scoring, the algebra) takes your model.
//!
//! ```sh
//! cargo run --release --example wrap_your_model -- "Alice was"
//! ```
//!
//! The model here is an n-gram model, in `common/ngram.rs`, that learns a text of 20 KB as the program starts. It
//! stands for any code with weights, a cache, and a function from one to the scores of the next token.
mod common;

use std::io::Write;
use std::sync::Arc;

use common::ngram::{Ngram, SYMBOLS, State};
use common::{Bytes, Corpus, decode, vocab, whole};
use eft::decode::Event;
use eft::{
    Backend, Decoding, Engine, EngineRow, EngineSpec, Error, Form, Host, Opened, Result, RowFeed, Sampling, Scores,
    Session, Source,
};

/// The weights, and what must be known of them.
struct NgramEngine {
    model: Arc<Ngram>,
    spec: EngineSpec<Host>,
}

impl Engine for NgramEngine {
    type Backend = Host;

    fn spec(&self) -> &EngineSpec<Host> {
        &self.spec
    }

    fn open(&self, rows: &[EngineRow]) -> Result<Opened<Host>> {
        self.spec.check(rows)?;
        let mut session = NgramSession {
            model: self.model.clone(),
            name: self.spec.name.clone(),
            rows: vec![State::new(); rows.len()],
        };
        let prompts: Vec<_> = rows.iter().map(|row| RowFeed::last(row.tokens.clone())).collect();
        let scores = session.extend(&prompts)?;
        Ok((Box::new(session), scores))
    }
}

/// The caches, one for each row of the batch.
struct NgramSession {
    model: Arc<Ngram>,
    name: String,
    rows: Vec<State>,
}

impl Session for NgramSession {
    type Backend = Host;

    fn rollback_limit(&self) -> Vec<usize> {
        // This model can go back into the prompt. One that cannot counts the tokens fed since then.
        self.rows.iter().map(State::len).collect()
    }

    fn room(&self) -> Vec<usize> {
        vec![usize::MAX; self.rows.len()]
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<Host>> {
        check_feed(&self.name, feed, self.rows.len())?;
        let (mut scores, mut spans) = (Vec::new(), Vec::new());
        // Rows are fed different numbers of tokens, and not every position's scores are asked for.
        for (state, feed) in self.rows.iter_mut().zip(feed) {
            let first = scores.len() / SYMBOLS;
            for (index, token) in feed.tokens.iter().enumerate() {
                self.model.read(state, *token);
                if index + feed.wanted >= feed.tokens.len() {
                    scores.extend(self.model.log_probs(state));
                }
            }
            spans.push(first..scores.len() / SYMBOLS);
        }
        // A model on a device would not upload: its scores are a tensor of some backend already.
        Ok(Scores::new(Host.upload(&scores, SYMBOLS)?, spans, SYMBOLS, Form::LogProbs))
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        check_rollback(drop, &self.rollback_limit())?;
        self.rows.iter_mut().zip(drop).for_each(|(state, count)| state.forget(*count));
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        check_select(rows, self.rows.len())?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }
}

fn check_feed(term: &str, feed: &[RowFeed], rows: usize) -> Result<()> {
    if feed.len() != rows {
        return Err(Error::shape("feeds", rows, feed.len()));
    }
    for (row, feed) in feed.iter().enumerate() {
        if feed.wanted > feed.tokens.len() {
            return Err(Error::shape("positions wanted", format!("at most {}", feed.tokens.len()), feed.wanted));
        }
        if let Some(&token) = feed.tokens.iter().find(|token| **token as usize >= SYMBOLS) {
            return Err(Error::TokenOutOfRange { term: term.into(), row, token, limit: SYMBOLS });
        }
    }
    Ok(())
}

fn check_rollback(drop: &[usize], limits: &[usize]) -> Result<()> {
    if drop.len() != limits.len() {
        return Err(Error::shape("rollback", limits.len(), drop.len()));
    }
    match drop.iter().zip(limits).enumerate().find(|(_, (asked, limit))| asked > limit) {
        Some((row, (&asked, &limit))) => Err(Error::RollbackTooFar { row, asked, limit }),
        None => Ok(()),
    }
}

fn check_select(rows: &[usize], of: usize) -> Result<()> {
    if rows.is_empty() {
        return Err(Error::EmptyBatch { what: "select" });
    }
    match rows.iter().find(|row| **row >= of) {
        Some(&row) => Err(Error::RowOutOfRange { what: "select", row, rows: of }),
        None => Ok(()),
    }
}

/// The model as a source that takes text.
fn wrap(name: &str, model: Ngram) -> Result<Source<Host>> {
    let spec = EngineSpec::new(name, Host, vocab()?.named(name));
    Source::new(NgramEngine { model: Arc::new(model), spec }).rendered_by(Bytes)
}

fn main() -> Result<()> {
    let prompt = std::env::args().nth(1).unwrap_or("Alice was".into());
    let (prose, verse) = (Corpus::prose(), Corpus::verse());
    let carroll = wrap("carroll", Ngram::new(6).trained(prose.learnt()))?;
    let shakespeare = wrap("shakespeare", Ngram::new(6).trained(verse.learnt()))?;
    let decoding = Decoding::from(Sampling::default().top_p(0.8).seed(3)).max_tokens(200);

    print!("A stream, by `{carroll}`:\n  {prompt}");
    for token in carroll.generate(&prompt[..], &decoding)? {
        print!("{}", decode([token?.id]));
        std::io::stdout().flush().map_err(|error| Error::source("stdout", error))?;
    }

    println!("\n\nA batch, by `{shakespeare}`:");
    let prompts = ["O, ", "When I ", "Thou art "];
    let mut texts = prompts.map(String::from);
    for event in shakespeare.generate_batch(prompts, decoding.clone().stop_sequence(*b"\n".map(u32::from)))? {
        if let Event::Token { row, token } = event? {
            texts[row] += &decode([token.id]);
        }
    }
    texts.iter().for_each(|text| println!("  {text}"));

    println!("\nCombinations:");
    let between = 0.5 * &carroll + 0.5 * &shakespeare;
    let exaggerated = 1.3 * &shakespeare - 0.3 * &carroll;
    for source in [&between, &exaggerated] {
        let ids = source.generate(&prompt[..], &decoding)?.map(|token| Ok(token?.id)).collect::<Result<Vec<_>>>()?;
        println!("  {source}: {prompt}{}", decode(ids).replace('\n', " / "));
    }

    println!("\nMean log-probability per byte of a line that neither has read:");
    for text in ["Shall I, fair friend, forget thy eyes,", "\"I never saw a rabbit,\" said the Mouse,"] {
        println!("  {text}");
        for source in [&carroll, &shakespeare, &between, &exaggerated] {
            let scored = source.score("", &whole(text))?;
            println!("    {:6.3}  {source}", scored.total / scored.tokens.len() as f64);
        }
    }
    Ok(())
}
