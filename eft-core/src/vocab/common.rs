//! [`Common`]: the tokens that the vocabularies of a combination share.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Vocab;
use crate::{Result, TokenId};

/// The tokens that several vocabularies share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Common {
    /// The ids below this number are real tokens of all of them.
    pub(crate) width: usize,
    /// The ids below `width` that stand for no token in some of them.
    pub(crate) unassigned: Vec<TokenId>,
    /// Descriptions of special tokens whose names differ, in the first vocabulary and in the one that differs.
    pub(crate) renamed: BTreeMap<TokenId, (String, String)>,
    /// The ids that end a text in any of them.
    pub(crate) eos: BTreeSet<TokenId>,
}

impl Common {
    /// Compares every vocabulary with the first. That suffices, since equality of ordinary tokens is transitive.
    pub(crate) fn of<'a>(vocabs: impl IntoIterator<Item = &'a Arc<Vocab>>) -> Result<Self> {
        let mut vocabs = vocabs.into_iter();
        let Some(first) = vocabs.next() else { return Ok(Self::default()) };
        let mut common = Self { width: first.real(), eos: first.eos.clone(), ..Self::default() };
        let mut unassigned: BTreeSet<_> = first.unassigned().into_iter().collect();
        let mut seen = vec![first];
        for vocab in vocabs {
            if seen.iter().any(|v| Arc::ptr_eq(v, vocab)) {
                continue;
            }
            let relation = first.relation(vocab)?;
            common.width = common.width.min(relation.common);
            common.eos.extend(vocab.eos.iter().copied());
            unassigned.extend(vocab.unassigned());
            for id in relation.renamed {
                common.renamed.entry(id).or_insert_with(|| (first.describe(id), vocab.describe(id)));
            }
            seen.push(vocab);
        }
        common.unassigned = unassigned.into_iter().filter(|id| (*id as usize) < common.width).collect();
        Ok(common)
    }
}
