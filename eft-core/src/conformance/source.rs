//! Sources: sessions under interleaved extend, rollback and select, against sessions opened afresh.
use super::{Law, Verdict, refuses, require};
use crate::backend::Backend;
use crate::sample::{Purpose, Uniforms};
use crate::{Error, LogitSource, Prompt, RowFeed, Scores, Session, TokenId};

/// What a source is tried with.
#[derive(Debug, Clone)]
pub struct SourceTest {
    prompts: Vec<Prompt>,
    tokens: Vec<TokenId>,
    tolerance: f32,
    steps: usize,
    seed: u64,
}

impl SourceTest {
    /// Prompts, preferably of different lengths; there should be room for 32 tokens behind each.
    ///
    /// By default every real token is fed, and log-probabilities must agree within 1e-4.
    pub fn new<P: Into<Prompt>>(prompts: impl IntoIterator<Item = P>) -> Self {
        let prompts = prompts.into_iter().map(Into::into).collect();
        Self { prompts, tokens: Vec::new(), tolerance: 1e-4, steps: 40, seed: 0 }
    }

    /// Feeds these tokens only.
    pub fn tokens(mut self, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        self.tokens = tokens.into_iter().collect();
        self
    }

    /// How far log-probabilities may lie apart, in nats: what differently shaped products differ by.
    pub fn tolerance(mut self, nats: f32) -> Self {
        self.tolerance = nats;
        self
    }

    /// How many random operations a session goes through.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Other operations.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(super) fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// Some token, by a number.
    fn token(&self, vocab: &crate::Vocab, number: usize) -> TokenId {
        match self.tokens.is_empty() {
            true => (number % vocab.real().min(vocab.width())) as TokenId,
            false => self.tokens[number % self.tokens.len()],
        }
    }
}

/// Checks that a source's sessions are what they would be without a memory:
///
/// * a batch gives what its rows give one by one;
/// * `extend(ab)` is `extend(a)` and `extend(b)`, and for prompts of token ids, opening on `ab`;
/// * after a rollback a session is as if it had never gone there;
/// * forks, prunes and reorderings are independent;
/// * under any interleaving of these, every position scored is that of a session opened afresh;
/// * wrong calls are refused with the right kind of error, and leave the session as it was (or poisoned).
///
/// # Errors
/// The first law that does not hold.
pub fn check_source<B: Backend>(source: &dyn LogitSource<Backend = B>, test: &SourceTest) -> Verdict {
    refuses(source.open(&[]), "an empty batch is refused", |e| matches!(e, Error::EmptyBatch { .. }))?;
    let tester = Tester { source, test };
    tester.batch_is_one_by_one()?;
    tester.wrong_calls()?;
    tester.random_walk()
}

struct Tester<'a, B: Backend> {
    source: &'a dyn LogitSource<Backend = B>,
    test: &'a SourceTest,
}

/// A row of a session, as one without a memory would describe it.
#[derive(Debug, Clone)]
struct Model {
    prompt: usize,
    tokens: Vec<TokenId>,
}

impl<B: Backend> Tester<'_, B> {
    /// Log-probabilities over the real tokens, for each position of each row.
    fn log_probs(&self, scores: &Scores<B>) -> Verdict<Vec<Vec<Vec<f32>>>> {
        let (backend, width) = (self.source.backend(), self.source.vocab().real());
        let positions = |row| {
            let rows = scores.positions(row);
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            let tensor = backend.log_softmax(&rows, width)?;
            let all = backend.download(&crate::backend::score_rows(&tensor, rows.len()), width)?;
            Ok(all.chunks(width).map(<[f32]>::to_vec).collect())
        };
        (0..scores.rows()).map(positions).collect::<crate::Result<_>>().law("scores can be normalised")
    }

    /// The distribution after a prompt and tokens, by a session of its own.
    fn afresh(&self, row: &Model) -> Verdict<Vec<f32>> {
        let prompt = self.test.prompts[row.prompt].clone();
        let (mut session, scores) = self.source.open(&[prompt]).law("a prompt can be opened alone")?;
        let scores = match row.tokens.is_empty() {
            true => scores,
            false => {
                session.extend(&[RowFeed::last(row.tokens.clone())]).law("a row can be extended alone")?
            }
        };
        let mut log_probs = self.log_probs(&scores)?;
        let last = log_probs.swap_remove(0).pop();
        last.ok_or(()).map_err(|()| "no scores").law("the last position is scored")
    }

    fn same(&self, law: &str, row: &Model, got: &[f32]) -> Verdict {
        let expected = self.afresh(row)?;
        // Equal infinities have no difference.
        let near = |a: f32, b: f32| a == b || (a - b).abs() <= self.test.tolerance;
        let far = expected.iter().zip(got).position(|(a, b)| !near(*a, *b));
        require(far.is_none(), law, || {
            let token = far.unwrap_or(0);
            format!(
                "{row:?}: log-probability of token {token} is {}, expected {}",
                got[token], expected[token]
            )
        })
    }

    fn batch_is_one_by_one(&self) -> Verdict {
        let law = "a batch gives what its rows give one by one";
        let (_, scores) = self.source.open(&self.test.prompts).law("prompts can be opened")?;
        let log_probs = self.log_probs(&scores)?;
        require(log_probs.len() == self.test.prompts.len(), law, || format!("{} rows", log_probs.len()))?;
        for (prompt, positions) in log_probs.iter().enumerate() {
            require(positions.len() == 1, "open scores one position a row", || {
                format!("{}", positions.len())
            })?;
            self.same(law, &Model { prompt, tokens: Vec::new() }, &positions[0])?;
        }
        for (index, prompt) in self.test.prompts.iter().enumerate() {
            let Prompt::Tokens(ids) = prompt else { continue };
            let tokens: Vec<_> = (0..3).map(|i| self.test.token(self.source.vocab(), 5 * i + 1)).collect();
            let longer = Prompt::Tokens([&ids[..], &tokens].concat());
            let (_, scores) = self.source.open(&[longer]).law("a longer prompt can be opened")?;
            let log_probs = self.log_probs(&scores)?;
            let model = Model { prompt: index, tokens };
            self.same("opening on ab is opening on a and extending by b", &model, &log_probs[0][0])?;
        }
        Ok(())
    }

    fn wrong_calls(&self) -> Verdict {
        let prompts = &self.test.prompts;
        let (mut session, _) = self.source.open(prompts).law("prompts can be opened")?;
        let rows = prompts.len();
        let token = self.test.token(self.source.vocab(), 0);
        let feed = |first: RowFeed| -> Vec<_> {
            std::iter::once(first).chain(std::iter::repeat_with(RowFeed::none)).take(rows).collect()
        };
        let shape = |e: &Error| matches!(e, Error::Shape { .. });
        refuses(session.extend(&vec![RowFeed::none(); rows + 1]), "a feed too many is refused", shape)?;
        let wanted = RowFeed { tokens: vec![token], wanted: 2 };
        refuses(session.extend(&feed(wanted)), "more positions wanted than fed are refused", shape)?;
        refuses(
            session.extend(&feed(RowFeed::one(TokenId::MAX))),
            "a token past the vocabulary is refused",
            |e| matches!(e, Error::TokenOutOfRange { row: 0, token: TokenId::MAX, .. }),
        )?;
        let past = |e: &Error| matches!(e, Error::RollbackTooFar { row: 0, .. });
        let limit = session.rollback_limit();
        require(limit.len() == rows, "there is a rollback limit for each row", || {
            format!("{}", limit.len())
        })?;
        let mut too_far = vec![0; rows];
        too_far[0] = limit[0] + 1;
        refuses(session.rollback(&too_far), "a rollback past the limit is refused", past)?;
        refuses(session.rollback(&vec![0; rows + 1]), "a rollback too many is refused", shape)?;
        let row = |e: &Error| matches!(e, Error::RowOutOfRange { .. });
        refuses(session.select(&[rows]), "a selection past the batch is refused", row)?;
        let empty = |e: &Error| matches!(e, Error::EmptyBatch { .. });
        refuses(session.select(&[]), "an empty selection is refused", empty)?;
        let room = session.room();
        require(room.len() == rows, "there is room for each row", || format!("{}", room.len()))?;
        if room[0] < 1 << 16 {
            let full = RowFeed::last(vec![token; room[0] + 1]);
            let refused = |e: &Error| matches!(e, Error::ContextFull { row: 0, .. });
            refuses(session.extend(&feed(full)), "a full context is refused", refused)?;
        }

        // After all that, as if nothing had been.
        let fed = vec![RowFeed::one(token); rows];
        let scores = session.extend(&fed).law("refused calls leave the session usable")?;
        for (prompt, positions) in self.log_probs(&scores)?.iter().enumerate() {
            let model = Model { prompt, tokens: vec![token] };
            self.same("refused calls leave the session as it was", &model, &positions[0])?;
        }
        Ok(())
    }

    fn random_walk(&self) -> Verdict {
        let (mut session, _) = self.source.open(&self.test.prompts).law("prompts can be opened")?;
        let mut rows: Vec<_> =
            (0..self.test.prompts.len()).map(|prompt| Model { prompt, tokens: Vec::new() }).collect();
        let uniforms = Uniforms::new(self.test.seed);
        for step in 0..self.test.steps {
            let number = |row: usize, what: usize, below: usize| {
                (uniforms.at(row as u64, 8 * step + what, Purpose::Draw) * below as f64) as usize
            };
            match number(0, 0, 6) {
                0..=3 => self.extend(&mut *session, &mut rows, &number)?,
                4 => {
                    let drop: Vec<_> = (0..rows.len())
                        .map(|row| number(row, 1, rows[row].tokens.len() + 1).min(4))
                        .collect();
                    session.rollback(&drop).law("what was fed can be rolled back")?;
                    for (row, drop) in rows.iter_mut().zip(drop) {
                        row.tokens.truncate(row.tokens.len() - drop);
                    }
                }
                _ => {
                    let count = 1 + number(0, 1, self.test.prompts.len() + 1);
                    let chosen: Vec<_> = (0..count).map(|i| number(i, 2, rows.len())).collect();
                    session.select(&chosen).law("rows can be forked, pruned and reordered")?;
                    rows = chosen.iter().map(|row| rows[*row].clone()).collect();
                }
            }
            let limit = session.rollback_limit();
            let enough =
                limit.len() == rows.len() && limit.iter().zip(&rows).all(|(l, r)| *l >= r.tokens.len());
            require(enough, "what was fed can be rolled back", || format!("limits {limit:?} of {rows:?}"))?;
        }
        Ok(())
    }

    /// Feeds each row a few tokens, some rows none, and checks every position that was wanted.
    fn extend(
        &self,
        session: &mut dyn Session<Backend = B>,
        rows: &mut [Model],
        number: &dyn Fn(usize, usize, usize) -> usize,
    ) -> Verdict {
        let room = session.room();
        let feed: Vec<_> = (0..rows.len())
            .map(|row| {
                // Rows stay short enough for the oracle, which recomputes them.
                let most = room[row].min(24usize.saturating_sub(rows[row].tokens.len())).min(4);
                let count = number(row, 1, most + 1);
                let tokens = (0..count)
                    .map(|i| self.test.token(self.source.vocab(), number(row, 2 + i, 1 << 20)))
                    .collect();
                RowFeed { tokens, wanted: number(row, 7, count + 1) }
            })
            .collect();
        let scores = session.extend(&feed).law("rows can be fed different numbers of tokens")?;
        let log_probs = self.log_probs(&scores)?;
        for ((row, feed), positions) in rows.iter_mut().zip(&feed).zip(&log_probs) {
            let law = "as many positions are scored as were wanted";
            require(positions.len() == feed.wanted, law, || {
                format!("{} of {}", positions.len(), feed.wanted)
            })?;
            let before = row.tokens.len();
            row.tokens.extend(&feed.tokens);
            for (i, got) in positions.iter().enumerate() {
                let length = before + feed.tokens.len() - feed.wanted + i + 1;
                let at = Model { prompt: row.prompt, tokens: row.tokens[..length].to_vec() };
                self.same("every position scored is that of a session opened afresh", &at, got)?;
            }
        }
        Ok(())
    }
}
