//! Implements the traits of sources, engines and sessions for references, boxes and `Arc`s of them.
#![deny(clippy::missing_trait_methods)]
use std::sync::Arc;

use crate::{
    Draws, Engine, EngineRow, EngineSpec, LogitSource, Opened, Prompt, Result, RowFeed, Scores, Session,
    Vocab,
};

macro_rules! forward_source {
    ($($pointer:ty),*) => {$(
        impl<S: LogitSource + ?Sized> LogitSource for $pointer {
            type Backend = S::Backend;

            fn backend(&self) -> &Self::Backend {
                (**self).backend()
            }

            fn vocab(&self) -> &Arc<Vocab> {
                (**self).vocab()
            }

            fn open(&self, prompts: &[Prompt]) -> Result<Opened<Self::Backend>> {
                (**self).open(prompts)
            }
        }
    )*};
}

macro_rules! forward_engine {
    ($($pointer:ty),*) => {$(
        impl<E: Engine + ?Sized> Engine for $pointer {
            type Backend = E::Backend;

            fn spec(&self) -> &EngineSpec<Self::Backend> {
                (**self).spec()
            }

            fn open(&self, rows: &[EngineRow]) -> Result<Opened<Self::Backend>> {
                (**self).open(rows)
            }
        }
    )*};
}

macro_rules! forward_session {
    ($($pointer:ty),*) => {$(
        impl<S: Session + ?Sized> Session for $pointer {
            type Backend = S::Backend;

            fn rollback_limit(&self) -> Vec<usize> {
                (**self).rollback_limit()
            }

            fn room(&self) -> Vec<usize> {
                (**self).room()
            }

            fn extend(&mut self, feeds: &[RowFeed]) -> Result<Scores<Self::Backend>> {
                (**self).extend(feeds)
            }

            fn rollback(&mut self, drop: &[usize]) -> Result<()> {
                (**self).rollback(drop)
            }

            fn select(&mut self, rows: &[usize]) -> Result<()> {
                (**self).select(rows)
            }

            fn foresee(&mut self, draws: Draws<'_>) {
                (**self).foresee(draws)
            }
        }
    )*};
}

forward_source!(&S, Box<S>, Arc<S>);
forward_engine!(&E, Box<E>, Arc<E>);
forward_session!(&mut S, Box<S>);
