//! Makes a source from your own inference code: an [`Engine`], which holds the weights, and a [`Session`], which holds
//! the caches. Then everything that takes a source (streaming, batches, scoring, combinations) takes your model.
//!
//! ```sh
//! cargo run --release --example wrap_your_model -- "Alice was"
//! ```
//!
//! The model here, in `common/ngram.rs`, is an n-gram model that is trained on a text of 20 KB when the program starts.
//! It stands for any code that has weights, caches, and a function from both to the scores of the next token. With
//! `--features conformance` the test kit checks the wrapper as well.
mod common;

use std::io::Write;
use std::sync::Arc;

use common::ngram::{Ngram, SYMBOLS, State};
use common::{Bytes, Corpus, decode, vocab};
use eft::decode::Event;
use eft::{
    Backend, Decoding, Engine, EngineRow, EngineSpec, Form, Host, Opened, Result, RowFeed, Sampling, Scores,
    Session, Source, check,
};

/// The weights, and their description.
#[derive(Clone)]
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
        let mut session = NgramSession { engine: self.clone(), rows: vec![State::new(); rows.len()] };
        let prompts: Vec<_> = rows.iter().map(|row| RowFeed::last(row.tokens.clone())).collect();
        let scores = session.extend(&prompts)?;
        Ok((Box::new(session), scores))
    }
}

/// The caches, one for each row of the batch.
struct NgramSession {
    engine: NgramEngine,
    rows: Vec<State>,
}

impl Session for NgramSession {
    type Backend = Host;

    fn rollback_limit(&self) -> Vec<usize> {
        // This model can roll back into the prompt. One that cannot returns the number of tokens fed since the prompt.
        self.rows.iter().map(State::len).collect()
    }

    fn room(&self) -> Vec<usize> {
        vec![usize::MAX; self.rows.len()]
    }

    fn extend(&mut self, feed: &[RowFeed]) -> Result<Scores<Host>> {
        // Check the arguments before anything is changed.
        self.engine.spec.check_feeds(feed, &self.room())?;
        let (mut scores, mut spans) = (Vec::new(), Vec::new());
        // Each row is fed its own number of tokens, and scores are wanted after the last `wanted` of them only.
        for (state, feed) in self.rows.iter_mut().zip(feed) {
            let first = scores.len() / SYMBOLS;
            for (index, token) in feed.tokens.iter().enumerate() {
                self.engine.model.read(state, *token);
                if index + feed.wanted >= feed.tokens.len() {
                    scores.extend(self.engine.model.log_probs(state));
                }
            }
            spans.push(first..scores.len() / SYMBOLS);
        }
        // A model on a device need not upload its scores: they already are a tensor of its backend. If a step fails
        // after the caches have changed, the change must be undone, so that the call can be repeated.
        let tensor = Host.upload(&scores, SYMBOLS).inspect_err(|_| {
            self.rows.iter_mut().zip(feed).for_each(|(state, feed)| state.forget(feed.tokens.len()));
        })?;
        Ok(Scores::new(tensor, spans, SYMBOLS, Form::LogProbs))
    }

    fn rollback(&mut self, drop: &[usize]) -> Result<()> {
        check::rollback(drop, &self.rollback_limit())?;
        self.rows.iter_mut().zip(drop).for_each(|(state, count)| state.forget(*count));
        Ok(())
    }

    fn select(&mut self, rows: &[usize]) -> Result<()> {
        check::select(rows, self.rows.len())?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }
}

/// The model as an engine.
fn engine(name: &str, model: Ngram) -> Result<NgramEngine> {
    let spec = EngineSpec::new(name, Host, vocab()?.named(name));
    Ok(NgramEngine { model: Arc::new(model), spec })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let prompt = std::env::args().nth(1).unwrap_or("Alice was".into());
    let (prose, verse) = (Corpus::prose(), Corpus::verse());
    let of_carroll = engine("carroll", Ngram::new(6).trained(prose.training()))?;
    // Sources of this engine take text, which `Bytes` turns into tokens.
    let carroll = Source::new(of_carroll.clone()).rendered_by(Bytes)?;
    let of_shakespeare = engine("shakespeare", Ngram::new(6).trained(verse.training()))?;
    let shakespeare = Source::new(of_shakespeare).rendered_by(Bytes)?;
    let decoding = Decoding::from(Sampling::default().top_p(0.8).seed(3)).max_tokens(200);

    print!("A stream, by `{carroll}`:\n  {prompt}");
    for token in carroll.generate(&prompt[..], &decoding)? {
        print!("{}", decode([token?.id]));
        std::io::stdout().flush()?;
    }

    println!("\n\nA batch, by `{shakespeare}`:");
    let prompts = ["O, ", "When I ", "Thou art "];
    let mut texts = prompts.map(String::from);
    let of_one_line = decoding.clone().stop_sequence([u32::from(b'\n')]);
    for event in shakespeare.generate_batch(prompts, of_one_line)? {
        if let Event::Token { row, token } = event? {
            texts[row] += &decode([token.id]);
        }
    }
    texts.iter().for_each(|text| println!("  {text}"));

    println!("\nCombinations:");
    let between = 0.5 * &carroll + 0.5 * &shakespeare;
    let exaggerated = 1.3 * &shakespeare - 0.3 * &carroll;
    for source in [&between, &exaggerated] {
        let ids = source
            .generate(&prompt[..], &decoding)?
            .map(|token| Ok(token?.id))
            .collect::<Result<Vec<_>>>()?;
        println!("  {source}: {prompt}{}", decode(ids).replace('\n', " / "));
    }

    println!("\nMean log-probability of a byte, in held-out prose and in held-out verse:");
    for source in [&carroll, &shakespeare, &between, &exaggerated] {
        println!("  {:6.3} {:6.3}  {source}", prose.held_out_score(source)?, verse.held_out_score(source)?);
    }

    #[cfg(feature = "conformance")]
    {
        use eft::conformance::{SourceTest, check_engine, check_source};
        // The sessions of the engine itself, and the source in combinations, batches and forks.
        let prompts = ["A", "Alice", "Down, down, down"];
        check_engine(
            &of_carroll,
            &SourceTest::new(prompts.map(|text| text.bytes().map(u32::from).collect::<Vec<_>>())),
        )?;
        check_source(&carroll, &SourceTest::new(prompts))?;
        println!("\n`{carroll}` has passed the conformance tests of engines and of sources.");
    }
    Ok(())
}
