use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::backend::Backend;
use crate::decode::event::Event;
use crate::decode::joint::variant::{Variant, distinct};
use crate::decode::joint::work::JointWork;
use crate::decode::open::{Rows, open_accepted, rows_of};
use crate::decode::request::Request;
use crate::decode::row::{Row, Taken};
use crate::decode::stop::FinishReason;
use crate::decode::text::{RowText, TextBatch};
use crate::error::in_row;
use crate::evaluator::{Evaluator, OpenOptions};
use crate::sample::scored_position::ScoredPosition;
use crate::sample::{Sampler, Token};
use crate::{Error, Result, Scores, TokenId, Vocab};

/// The texts of several variants for the same requests: an iterator over [`Event`]s. See the [module](super) for an
/// example.
///
/// With `n` rows of requests (one for each sample), the texts of variant `v` are the rows `v·n .. (v + 1)·n`, in the
/// order of the requests. Each is token for token the text that
/// [`generate_batch`](crate::Source::generate_batch) of its source writes for these requests with its settings, except through
/// rounding in the models' own arithmetic.
///
/// A prompt that a model of any variant refuses is an [`Event::Failed`] for all variants. An error while the models run
/// ends all rows, and the iterator with them.
pub struct Joint<B: Backend> {
    evaluator: Evaluator<B>,
    variants: Vec<Running<B>>,
    /// The texts that each row of the evaluator carries: all have the same tokens so far.
    carried: Vec<Vec<Carried>>,
    /// Every row; `None` for the refused ones.
    rows: Vec<Option<Row>>,
    events: VecDeque<Event>,
    work: JointWork,
    /// An error has ended all rows.
    failed: bool,
}

/// A variant that is being generated.
struct Running<B: Backend> {
    /// The root of the evaluator that is its source.
    root: usize,
    /// Its rows are those of the requests that were not refused.
    sampler: Sampler<B>,
    /// The first vocabulary of its source.
    vocab: Arc<Vocab>,
}

/// A text that a row of the evaluator carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Carried {
    variant: usize,
    /// The row of the variant's sampler.
    sampled: usize,
    /// The index among all rows.
    row: usize,
}

/// The place of a text in a step: the row of the evaluator, and which of the texts that it carries.
struct Place {
    row: usize,
    slot: usize,
    text: Carried,
}

/// A row of the evaluator at the next step.
struct Next {
    /// The row that it continues.
    origin: usize,
    token: TokenId,
    texts: Vec<Carried>,
}

impl<B: Backend> Joint<B> {
    /// Opens the models of all variants on the prompts of the requests, which they read once.
    ///
    /// The memory that it takes is that of one batch with a row for each distinct text: at most one for each variant and
    /// sample.
    ///
    /// # Errors
    /// * [`Error::EmptyBatch`] if there are no variants or no requests.
    /// * [`Error::Unsupported`] if a variant or a request asks for [attribution](crate::Decoding::attribution).
    /// * Any error of [`Source::generate_batch`](crate::Source::generate_batch), for any variant.
    pub fn open<R: Into<Request>>(
        variants: impl IntoIterator<Item = Variant<B>>,
        requests: impl IntoIterator<Item = R>,
    ) -> Result<Self> {
        let variants: Vec<_> = variants.into_iter().collect();
        let requests: Vec<Request> = requests.into_iter().map(Into::into).collect();
        if variants.is_empty() {
            return Err(Error::EmptyBatch { what: "a joint generation" });
        }
        for variant in &variants {
            variant.decoding.validate()?;
            if variant.decoding.rivals.is_some() {
                let what = "attribution in a joint generation".into();
                return Err(Error::Unsupported { who: variant.source.name(), what });
            }
        }
        requests.iter().try_for_each(Request::validate)?;
        if requests.iter().any(|request| request.attribution.is_some()) {
            let what = "attribution in a joint generation".into();
            return Err(Error::Unsupported { who: variants[0].source.name(), what });
        }

        let (sources, roots) = distinct(&variants);
        let parallel = variants.iter().any(|variant| variant.decoding.parallel);
        let options = OpenOptions::default().parallel(parallel);
        let (evaluator, refused) = open_accepted(&sources, &requests, options)?;

        let of_variant = rows_of(&requests).last().map_or(0, |last| last.end);
        let mut joint = Self {
            carried: vec![Vec::new(); evaluator.rows()],
            evaluator,
            variants: Vec::new(),
            rows: (0..of_variant * variants.len()).map(|_| None).collect(),
            events: VecDeque::new(),
            work: JointWork::default(),
            failed: false,
        };
        for ((index, variant), root) in variants.iter().enumerate().zip(roots) {
            let (rows, origins) =
                Rows::of_accepted(&joint.evaluator, root, &requests, &refused, &variant.decoding)?;
            joint.add(root, rows, &origins, index * of_variant)?;
        }
        joint.drop_unused()?;
        Ok(joint)
    }

    /// Adds the texts of a variant, whose rows begin at `first`.
    fn add(&mut self, root: usize, rows: Rows, origins: &[usize], first: usize) -> Result<()> {
        let Some(vocab) = self.evaluator.vocabs(root)?.first().cloned() else {
            return Err(Error::NothingLeft { combination: self.evaluator.name(root)?.into() });
        };
        let starts = rows.settings.iter().map(|row| row.start.clone());
        let sampler = Sampler::of_rows(self.evaluator.backend().clone(), starts)
            .with_prompts(|term, row| self.evaluator.prompt_tokens(term, origins[row]))?;
        let refused = rows.refused.into_iter();
        self.events.extend(refused.map(|(row, error)| Event::Failed { row: first + row, error }));
        let texts = rows.settings.into_iter().zip(rows.active).zip(origins).enumerate();
        for (sampled, ((settings, row), origin)) in texts {
            let (mut text, row) = (Row::new(settings, 0), first + row);
            match text.is_empty() {
                true => text.finish(row, FinishReason::MaxTokens, &mut self.events),
                false => self.carried[*origin].push(Carried { variant: self.variants.len(), sampled, row }),
            }
            self.rows[row] = Some(text);
        }
        self.variants.push(Running { root, sampler, vocab });
        Ok(())
    }

    /// Drops the rows of the evaluator that carry no text. If no row does, the evaluator keeps its rows, since it cannot
    /// be empty.
    fn drop_unused(&mut self) -> Result<()> {
        let used: Vec<_> = (0..self.carried.len()).filter(|row| !self.carried[*row].is_empty()).collect();
        let all = used.len() == self.carried.len();
        self.carried.retain(|texts| !texts.is_empty());
        match used.is_empty() || all {
            true => Ok(()),
            false => self.evaluator.select(&used),
        }
    }

    /// Returns the number of rows, including those that have ended or failed: one for each variant and sample.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Returns the vocabulary of the first model of the first variant.
    pub fn vocab(&self) -> &Arc<Vocab> {
        &self.variants[0].vocab
    }

    /// Returns the number of variants.
    pub fn variants(&self) -> usize {
        self.variants.len()
    }

    /// Returns the work so far.
    #[must_use]
    pub fn work(&self) -> JointWork {
        self.work
    }

    /// Ends a row whose text is no longer wanted, without an event. Its events that have not been yielded are dropped.
    /// A row that has ended, or does not exist, is ignored.
    ///
    /// # Errors
    /// Any error of a model that drops the row; all rows have ended then.
    pub fn retire(&mut self, row: usize) -> Result<()> {
        self.events.retain(|event| event.row() != row);
        if self.failed {
            return Ok(());
        }
        self.carried.iter_mut().for_each(|texts| texts.retain(|text| text.row != row));
        let dropped = self.drop_unused();
        self.failed = dropped.is_err();
        dropped
    }

    /// Reads the texts as text. The stop strings of the requests end them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the bytes of a vocabulary's tokens are not known.
    pub fn text(self) -> Result<TextBatch<Self>> {
        let of_variant = self.rows.len() / self.variants.len();
        let vocabs = self.variants.iter().flat_map(|v| std::iter::repeat_n(v.vocab.clone(), of_variant));
        let row = |(vocab, row): (_, &Option<Row>)| match row {
            Some(Row { settings, .. }) => {
                RowText { vocab, stops: settings.stop_strings.clone(), keep_stop: settings.keep_stop }
            }
            None => RowText { vocab, stops: Vec::new(), keep_stop: false },
        };
        let rows = vocabs.zip(&self.rows).map(row).collect();
        let vocab = self.vocab().clone();
        TextBatch::of_rows(self, vocab, rows, Self::retire)
    }

    /// Generates one token for each unfinished text.
    fn step(&mut self) -> Result<()> {
        let at: Vec<_> = (0..self.roots()).map(|root| self.positions(root)).collect();
        let chosen = self.choose(&at)?;
        self.take(chosen)
    }

    /// The number of distinct sources.
    fn roots(&self) -> usize {
        self.variants.iter().map(|variant| variant.root + 1).max().unwrap_or(0)
    }

    /// Chooses the next token of each text, in the order of the texts that each row carries. `at` has the positions that
    /// each root is evaluated at.
    fn choose(&mut self, at: &[Vec<Range<usize>>]) -> Result<Vec<Vec<Option<Token>>>> {
        let wanted: Vec<_> = at.iter().enumerate().map(|(root, at)| (root, &at[..])).collect();
        let run = self.evaluator.run_roots(&wanted);
        run.map_err(|error| self.in_text(error))?;
        let mut chosen: Vec<_> = self.carried.iter().map(|texts| vec![None; texts.len()]).collect();
        for (root, at) in at.iter().enumerate().filter(|(_, at)| at.iter().any(|at| !at.is_empty())) {
            // The scores of one root at a time are held, since they may be large.
            let scores = self.evaluator.eval(root, at);
            let scores = scores.map_err(|error| self.in_text(error))?;
            for variant in (0..self.variants.len()).filter(|v| self.variants[*v].root == root) {
                let places = self.places(variant);
                let tokens = self.draw(variant, &places, &scores)?;
                for (place, token) in places.into_iter().zip(tokens) {
                    chosen[place.row][place.slot] = Some(token);
                }
            }
        }
        Ok(chosen)
    }

    /// Where the unfinished texts of a variant are.
    fn places(&self, variant: usize) -> Vec<Place> {
        let rows = self.carried.iter().enumerate();
        let places = rows.flat_map(|(row, texts)| {
            texts.iter().enumerate().map(move |(slot, text)| Place { row, slot, text: *text })
        });
        places.filter(|place| place.text.variant == variant).collect()
    }

    /// Chooses the next tokens of texts of one variant from the scores of its source.
    fn draw(&self, variant: usize, places: &[Place], scores: &Scores<B>) -> Result<Vec<Token>> {
        let Running { root, sampler, .. } = &self.variants[variant];
        let mut positions = Vec::new();
        for Place { row, text, .. } in places {
            let missing = || Error::shape(format!("scores of row {row}"), "one position", 0);
            positions.push(ScoredPosition {
                scores: scores.positions(*row).pop().ok_or_else(missing)?,
                row: text.sampled,
                position: sampler.generated(text.sampled).len(),
                coverage: scores.coverage(*row),
            });
        }
        sampler.choose(&positions, scores.width()).map_err(|error| {
            // The error counts the rows of the sampler. The term at fault is found by the row of the evaluator.
            let place = |sampled| places.iter().find(|place| place.text.sampled == sampled);
            let mut of_batch = None;
            let in_evaluator = in_row(error, |sampled| {
                of_batch = place(sampled).map(|place| place.text.row);
                place(sampled).map_or(sampled, |place| place.row)
            });
            let explained = self.evaluator.explain(*root, in_evaluator);
            in_row(explained, |row| of_batch.unwrap_or(row))
        })
    }

    /// The error of a row of the evaluator as that of the first text that the row carries.
    fn in_text(&self, error: Error) -> Error {
        let first = |row: usize| self.carried.get(row).and_then(|texts| texts.first());
        in_row(error, |row| first(row).map_or(row, |text| text.row))
    }

    /// The last position of each row that carries a text of this root; an empty range for the others.
    fn positions(&self, root: usize) -> Vec<Range<usize>> {
        let carries = |texts: &[Carried]| texts.iter().any(|text| self.variants[text.variant].root == root);
        let rows = self.carried.iter().enumerate();
        rows.map(|(row, texts)| {
            let last = self.evaluator.pushed(row).len();
            if carries(texts) { last..last + 1 } else { 0..0 }
        })
        .collect()
    }

    /// Takes the tokens that were chosen: ends texts, and copies each row for which different tokens were chosen.
    fn take(&mut self, chosen: Vec<Vec<Option<Token>>>) -> Result<()> {
        self.work.steps += 1;
        self.work.row_steps += chosen.len();
        let room =
            self.variants.iter().map(|v| self.evaluator.room_for(v.root)).collect::<Result<Vec<_>>>()?;
        let mut next: Vec<Next> = Vec::new();
        for (origin, (texts, tokens)) in std::mem::take(&mut self.carried).into_iter().zip(chosen).enumerate()
        {
            let first = next.len();
            self.work.text_steps += tokens.len();
            for (text, token) in texts.into_iter().zip(tokens) {
                let Some(token) = token else { continue };
                let id = token.id;
                self.variants[text.variant].sampler.remember([(text.sampled, id)]);
                if !self.goes_on(text, token, room[text.variant][origin] > 0) {
                    continue;
                }
                match next[first..].iter_mut().find(|next| next.token == id) {
                    Some(next) => next.texts.push(text),
                    None => next.push(Next { origin, token: id, texts: vec![text] }),
                }
            }
        }
        let origins: Vec<_> = next.iter().map(|next| next.origin).collect();
        let tokens: Vec<_> = next.iter().map(|next| next.token).collect();
        self.carried = next.into_iter().map(|next| next.texts).collect();
        if self.carried.is_empty() {
            return Ok(());
        }
        if !origins.iter().copied().eq(0..self.evaluator.rows()) {
            self.evaluator.select(&origins)?;
        }
        self.evaluator.advance(&tokens)
    }

    /// Yields the token of a text, and returns whether the text goes on after it.
    fn goes_on(&mut self, text: Carried, token: Token, room: bool) -> bool {
        let Some(row) = &mut self.rows[text.row] else { return false };
        let reason = match row.take(text.row, vec![token], &mut self.events) {
            Taken::Ended { .. } => return false,
            Taken::GoesOn { .. } if room => return true,
            Taken::GoesOn { .. } => FinishReason::ContextFull,
            Taken::Full { .. } => FinishReason::MaxTokens,
        };
        row.finish(text.row, reason, &mut self.events);
        false
    }
}

impl<B: Backend> Iterator for Joint<B> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.events.is_empty() && !self.carried.is_empty() && !self.failed {
            if let Err(error) = self.step() {
                self.failed = true;
                return Some(Err(error));
            }
        }
        self.events.pop_front().map(Ok)
    }
}

impl<B: Backend> std::fmt::Debug for Joint<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Joint")
            .field("evaluator", &self.evaluator)
            .field("variants", &self.variants.len())
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}
