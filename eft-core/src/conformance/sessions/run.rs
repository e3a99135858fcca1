//! [`Run`]: a session, and the tokens that its rows should hold. Every operation checks its result.
use super::tester::{Row, Tester};
use crate::backend::Backend;
use crate::conformance::{Law, Result, require};
use crate::sample::{Purpose, Uniforms};
use crate::{Error, RowFeed, Session, TokenId};

/// The most tokens of a row. Rows are kept short, since each position is compared with a newly opened session.
const MOST_TOKENS: usize = 24;

type DynSession<B> = dyn Session<Backend = B>;

/// A session under test.
pub(super) struct Run<'a, B: Backend> {
    tester: &'a Tester<'a, B>,
    session: Box<DynSession<B>>,
    rows: Vec<Row>,
    /// The room that each row should have.
    room: Vec<usize>,
    /// The law that is broken if scores are wrong.
    law: &'static str,
    uniforms: Uniforms,
    /// How many random numbers have been used.
    drawn: usize,
}

impl<'a, B: Backend> Run<'a, B> {
    /// Opens a session on all prompts of the test.
    pub(super) fn start(tester: &'a Tester<'a, B>) -> Result<Self> {
        Self::open(tester, tester.all_rows(), tester.test.first_seed())
    }

    /// Opens a session on the prompts of these rows and feeds it the tokens after them.
    pub(super) fn open(tester: &'a Tester<'a, B>, rows: Vec<Row>, seed: u64) -> Result<Self> {
        let opened: Vec<_> = rows.iter().map(|row| Row { tokens: Vec::new(), ..*row }).collect();
        let law = "prompts can be opened";
        let (first, failed) = tester.under_fault(|| tester.model.open(&opened));
        let (session, scores) = match first {
            Err(_) if failed => {
                tester.model.open(&opened).law("opening can be tried again after a failure")?
            }
            result => result.law(law)?,
        };
        tester.check_scores(
            "a batch gives what its rows give one by one",
            &scores,
            &opened,
            &vec![1; rows.len()],
        )?;
        let room = session.room();
        let uniforms = Uniforms::new(seed);
        let law = "every position scored is that of a session opened afresh";
        let mut run = Self { tester, session, rows: opened, room, law, uniforms, drawn: 0 };
        if let Some(context) = tester.model.context() {
            let lengths = run.rows.iter().map(|row| tester.model.prompt_length(row).unwrap_or(0));
            let left = |length| if context == usize::MAX { context } else { context - length };
            run.room = lengths.map(left).collect();
        }
        run.check_counts()?;
        if rows.iter().any(|row| !row.tokens.is_empty()) {
            run.extend(rows.into_iter().map(|row| RowFeed::last(row.tokens)).collect())?;
        }
        Ok(run)
    }

    /// Sets the law that is broken if scores are wrong from now on.
    pub(super) fn under_law(&mut self, law: &'static str) {
        self.law = law;
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn room(&self, row: usize) -> usize {
        self.room[row]
    }

    pub(super) fn limits(&self) -> Vec<usize> {
        self.session.rollback_limit()
    }

    /// How many tokens each row was opened on and still holds, where this is known.
    pub(super) fn prompt_length(&self, row: usize) -> Option<usize> {
        self.tester.model.prompt_length(&self.rows[row])
    }

    /// A random number below `below`.
    pub(super) fn number(&mut self, below: usize) -> usize {
        self.drawn += 1;
        (self.uniforms.at(0, self.drawn, Purpose::Draw) * below as f64) as usize
    }

    /// `count` random tokens for a row, or fewer where its context is full or it is long enough.
    pub(super) fn tokens(&mut self, row: usize, count: usize) -> Vec<TokenId> {
        let most = self.room[row].min(MOST_TOKENS.saturating_sub(self.rows[row].tokens.len()));
        let tester = self.tester;
        (0..count.min(most)).map(|_| tester.test.token(tester.model.vocab(), self.number(1 << 20))).collect()
    }

    /// Feeds each row `counts[row]` random tokens and asks for the scores after all of them.
    pub(super) fn feed(&mut self, counts: &[usize]) -> Result {
        let feeds = (0..counts.len()).map(|row| RowFeed::all(self.tokens(row, counts[row]))).collect();
        self.extend(feeds)
    }

    /// Feeds every row one random token: scores after a single token depend the most on what was there before.
    pub(super) fn feed_one_each(&mut self) -> Result {
        self.feed(&vec![1; self.rows.len()])
    }

    pub(super) fn extend(&mut self, feeds: Vec<RowFeed>) -> Result {
        let scores =
            self.call("rows can be fed different numbers of tokens", |session| session.extend(&feeds))?;
        for ((row, room), feed) in self.rows.iter_mut().zip(&mut self.room).zip(&feeds) {
            row.tokens.extend(&feed.tokens);
            if *room != usize::MAX {
                *room -= feed.tokens.len();
            }
        }
        if self.tester.test.accepts_more_room() {
            let law = "a row has at least the room that the tokens fed to it leave";
            let least = self.session.room().iter().zip(&self.room).all(|(room, least)| room >= least);
            require(least, law, || format!("{:?}, expected at least {:?}", self.session.room(), self.room))?;
        }
        let wanted: Vec<_> = feeds.iter().map(|feed| feed.wanted).collect();
        self.tester.check_scores(self.law, &scores, &self.rows, &wanted)?;
        self.check_counts()
    }

    /// Says which random numbers will draw the next tokens of some rows, which must change no scores.
    pub(super) fn foresee(&mut self) {
        let first = self.number(97);
        let draw = |row, token| ((31 * row + 17 * token + first) % 97) as f64 / 97.0;
        self.session.foresee(&|row, token| (row != 1).then(|| draw(row, token)));
    }

    pub(super) fn rollback(&mut self, drop: &[usize]) -> Result {
        self.call("tokens can be rolled back up to the limit", |session| session.rollback(drop))?;
        for ((row, room), drop) in self.rows.iter_mut().zip(&mut self.room).zip(drop) {
            let of_tokens = row.tokens.len().min(*drop);
            row.tokens.truncate(row.tokens.len() - of_tokens);
            row.dropped += drop - of_tokens;
            if *room != usize::MAX {
                *room += drop;
            }
        }
        self.check_counts()
    }

    pub(super) fn select(&mut self, rows: &[usize]) -> Result {
        self.call("rows can be forked, pruned and reordered", |session| session.select(rows))?;
        self.rows = rows.iter().map(|row| self.rows[*row].clone()).collect();
        self.room = rows.iter().map(|row| self.room[*row]).collect();
        self.check_counts()
    }

    /// Makes a call that must be refused with an error of this kind and change nothing, except that it may poison the
    /// session.
    pub(super) fn refuses<T>(
        &mut self,
        law: &'static str,
        call: impl Fn(&mut DynSession<B>) -> crate::Result<T>,
        kind: impl Fn(&Error) -> bool,
    ) -> Result {
        crate::conformance::refuses(call(&mut *self.session), law, kind)?;
        self.check_unchanged()?;
        self.under_law("a refused call leaves the session as it was");
        let before: Vec<_> = self.rows.iter().map(|row| row.tokens.len()).collect();
        self.feed_one_each()?;
        let fed: Vec<_> =
            self.rows.iter().zip(before).map(|(row, before)| row.tokens.len() - before).collect();
        self.rollback(&fed)
    }

    /// Makes a call, under the pending fault if there is one. A call that fails because of it must change nothing and
    /// succeed when it is repeated, or else poison the session, which is then opened again.
    fn call<T>(&mut self, law: &str, call: impl Fn(&mut DynSession<B>) -> crate::Result<T>) -> Result<T> {
        let tester = self.tester;
        let (first, failed) = tester.under_fault(|| call(&mut *self.session));
        match first {
            Err(_) if failed => {
                self.under_law("a call that fails changes nothing");
                self.check_unchanged()?;
                call(&mut *self.session).law("a call that failed can be repeated")
            }
            result => result.law(law),
        }
    }

    /// Checks after a failed call that the session is as it was, or poisoned. A poisoned session is opened again.
    fn check_unchanged(&mut self) -> Result {
        let none = vec![RowFeed::none(); self.rows.len()];
        match self.session.extend(&none) {
            Err(Error::Poisoned { .. }) => {
                let law = "a poisoned session refuses every call";
                let poisoned = |e: &Error| matches!(e, Error::Poisoned { .. });
                let rows: Vec<_> = (0..self.rows.len()).collect();
                crate::conformance::refuses(self.session.extend(&none), law, poisoned)?;
                crate::conformance::refuses(self.session.rollback(&vec![0; rows.len()]), law, poisoned)?;
                crate::conformance::refuses(self.session.select(&rows), law, poisoned)?;
                let Self { tester, ref rows, uniforms, drawn, law, .. } = *self;
                *self = Self { uniforms, drawn, law, ..Run::open(tester, rows.clone(), 0)? };
                Ok(())
            }
            result => {
                result.law("a session can be used after a call that failed, or is poisoned")?;
                self.check_counts()
            }
        }
    }

    /// Checks the room and the rollback limits that the session reports.
    fn check_counts(&mut self) -> Result {
        let (room, limits) = (self.session.room(), self.session.rollback_limit());
        let rows = self.rows.len();
        require(
            room.len() == rows && limits.len() == rows,
            "each row has its room and rollback limit",
            || format!("{} entries of room and {} limits for {rows} rows", room.len(), limits.len()),
        )?;
        if self.tester.test.accepts_more_room() {
            self.room = room;
        } else {
            require(room == self.room, "the room of a row is what its tokens leave of the context", || {
                format!("{room:?}, expected {:?}", self.room)
            })?;
        }
        for (row, limit) in self.rows.iter().zip(limits) {
            let fed = row.tokens.len();
            let all = self.tester.model.prompt_length(row).map_or(usize::MAX, |prompt| prompt + fed);
            let law = "the rollback limit is at least the tokens fed and at most the tokens there are";
            require((fed..=all).contains(&limit), law, || format!("{limit} for {row:?}"))?;
        }
        Ok(())
    }
}
