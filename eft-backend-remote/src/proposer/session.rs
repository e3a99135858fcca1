//! The session of a [`RemoteProposer`](super::RemoteProposer).
use eft_core::decode::FinishReason;
use eft_core::search::{Chunk, ProposerSession};
use eft_core::{Error as CoreError, Renderer, Result as CoreResult, Sampling, TokenId, check};
use serde_json::Value;

use super::RemoteProposer;
use super::samples::{self, Sample};
use crate::error::{Error, Result};
use crate::parallel;

/// A character takes at most 4 bytes, and a token has at least one, so with 3 tokens more than one the text ends within
/// no character.
const WHOLE_CHARACTER: usize = 3;

/// The most tokens that are asked for where nothing else limits them.
const LONGEST: usize = 1 << 20;

/// The prompt, as it is sent.
pub(super) enum Beginning<'a> {
    Text(String),
    Tokens { tokens: Vec<TokenId>, renderer: &'a dyn Renderer },
}

pub(super) struct SampledSession<'a> {
    proposer: &'a RemoteProposer,
    beginning: Beginning<'a>,
    sampling: Sampling,
    rows: Vec<Row>,
    /// The seed of the next sample.
    seed: u64,
}

#[derive(Clone, Default)]
struct Row {
    text: String,
    ended: bool,
}

/// Rows with the same text, and the first of their seeds.
struct Group {
    rows: Vec<usize>,
    prompt: Value,
    /// How many tokens the text can still have.
    room: usize,
    seed: u64,
}

impl<'a> SampledSession<'a> {
    pub(super) fn new(proposer: &'a RemoteProposer, beginning: Beginning<'a>, sampling: Sampling) -> Self {
        // Neighbouring seeds of searches are spread, since each search counts on from its own. Servers take 31 bits.
        let seed = sampling.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 34;
        Self { proposer, beginning, sampling, rows: vec![Row::default()], seed }
    }

    /// The groups of rows that have not ended, in the order of their first rows.
    fn groups(&mut self) -> CoreResult<Vec<Group>> {
        let mut groups: Vec<Group> = Vec::new();
        for (index, row) in self.rows.iter().enumerate().filter(|(_, row)| !row.ended) {
            let same = |group: &&mut Group| self.rows[group.rows[0]].text == row.text;
            match groups.iter_mut().find(same) {
                Some(group) => group.rows.push(index),
                None => {
                    let (prompt, room) = self.prompt(&row.text)?;
                    groups.push(Group { rows: vec![index], prompt, room, seed: 0 });
                }
            }
        }
        for group in &mut groups {
            group.seed = self.seed;
            self.seed = (self.seed + group.rows.len() as u64) % (1 << 30);
        }
        Ok(groups)
    }

    /// The prompt followed by a text, as it is sent, and how many tokens can follow.
    fn prompt(&self, text: &str) -> CoreResult<(Value, usize)> {
        let context = self.proposer.server.context();
        Ok(match &self.beginning {
            Beginning::Text(prompt) => (format!("{prompt}{text}").into(), context.unwrap_or(LONGEST)),
            Beginning::Tokens { tokens, renderer } => {
                let mut tokens = tokens.clone();
                if !text.is_empty() {
                    tokens.extend(renderer.continuation(self.proposer.server.model(), text)?);
                }
                let room = context.map_or(LONGEST, |longest| (longest + 1).saturating_sub(tokens.len()));
                (tokens.into(), room)
            }
        })
    }

    /// Samples continuations of a group's text of up to `tokens` tokens, one for each row. None may be empty unless its
    /// text has ended.
    fn sample(&self, group: &Group, tokens: usize) -> Result<Vec<Sample>> {
        let mut samples = self.ask(group, group.seed, group.rows.len(), tokens)?;
        for (index, sample) in samples.iter_mut().enumerate() {
            if sample.text.is_empty() && !sample.ended {
                // It was cut within its first character. The same seed gives the same beginning.
                let more = tokens.saturating_add(WHOLE_CHARACTER).min(group.room);
                *sample = self.ask(group, group.seed + index as u64, 1, more)?.swap_remove(0);
            }
        }
        Ok(samples)
    }

    /// Asks for `count` samples, by as many requests as the server needs.
    fn ask(&self, group: &Group, seed: u64, count: usize, tokens: usize) -> Result<Vec<Sample>> {
        let (server, mut samples) = (&self.proposer.server, Vec::new());
        let mut at_once = self.proposer.at_once();
        while samples.len() < count {
            let some = (count - samples.len()).min(at_once);
            let seed = seed + samples.len() as u64;
            let model = (server.kind(), server.model());
            let body = samples::request(model, group.prompt.clone(), (some, tokens), &self.sampling, seed);
            let answer = match server.client.post(samples::PATH, &body) {
                // So many samples of one request may be what the server refuses.
                Err(Error::Status { status: 400 | 422, .. }) if some > 1 => {
                    at_once = some / 2;
                    continue;
                }
                answer => answer?,
            };
            self.proposer.lower(at_once);
            server.check_model(samples::PATH, answer["model"].as_str())?;
            let read = samples::read(&answer, tokens);
            let read = read.map_err(|reason| server.client.wrong(samples::PATH, reason))?;
            // A server that knows no `n` returns one sample, and is asked again.
            samples.extend(read.into_iter().take(some));
        }
        Ok(samples)
    }
}

impl ProposerSession for SampledSession<'_> {
    fn extend(&mut self, count: usize) -> CoreResult<Vec<Chunk>> {
        let groups = self.groups()?;
        let limit = self.proposer.server.client.parallel();
        let sampled = parallel::map(&groups, limit, |group| match count.min(group.room) {
            0 => Ok(Vec::new()),
            tokens => self.sample(group, tokens),
        });
        let mut chunks = vec![Chunk::default(); self.rows.len()];
        for (group, sampled) in groups.iter().zip(sampled) {
            let sampled = sampled.map_err(|error| error.of(self.proposer.server.model()))?;
            let full = group.room <= count;
            for (place, row) in group.rows.iter().enumerate() {
                let sample = sampled.get(place);
                let text = sample.map_or("", |sample| &sample.text);
                let end = match sample {
                    Some(sample) if sample.ended => Some(FinishReason::Ended),
                    _ if full => Some(FinishReason::ContextFull),
                    // A server that appends nothing would be asked for ever.
                    _ if text.is_empty() => Some(FinishReason::Ended),
                    _ => None,
                };
                self.rows[*row].text += text;
                self.rows[*row].ended = end.is_some();
                let drawn = sample.map_or(0, |sample| sample.tokens);
                chunks[*row] = Chunk { text: text.as_bytes().into(), drawn, end, ..Chunk::default() };
            }
        }
        Ok(chunks)
    }

    fn select(&mut self, rows: &[usize]) -> CoreResult<()> {
        check::select(rows, self.rows.len())?;
        if let Some(row) = rows.iter().find(|row| self.rows[**row].ended) {
            return Err(CoreError::RowOutOfRange { what: "select", row: *row, rows: self.rows.len() });
        }
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        Ok(())
    }
}
