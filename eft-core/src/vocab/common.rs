use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Vocab;
use crate::{Result, TokenId};

/// The range and the tokens that several vocabularies share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Common {
    pub(crate) width: usize,
    pub(crate) holes: Vec<TokenId>,
    pub(crate) renamed: BTreeMap<TokenId, (String, String)>,
    pub(crate) eos: BTreeSet<TokenId>,
}

impl Common {
    /// Every vocabulary against the first: relations are transitive but for the renamed ones.
    pub(crate) fn of<'a>(vocabs: impl IntoIterator<Item = &'a Arc<Vocab>>) -> Result<Self> {
        let mut vocabs = vocabs.into_iter();
        let Some(first) = vocabs.next() else { return Ok(Self::default()) };
        let mut common = Self { width: first.real(), eos: first.eos.clone(), ..Self::default() };
        let mut holes: BTreeSet<_> = first.holes().into_iter().collect();
        let mut seen = vec![first];
        for vocab in vocabs {
            if seen.iter().any(|v| Arc::ptr_eq(v, vocab)) {
                continue;
            }
            let relation = first.relation(vocab)?;
            common.width = common.width.min(relation.common);
            common.eos.extend(vocab.eos.iter().copied());
            holes.extend(vocab.holes());
            for id in relation.renamed {
                common.renamed.entry(id).or_insert_with(|| (first.describe(id), vocab.describe(id)));
            }
            seen.push(vocab);
        }
        common.holes = holes.into_iter().filter(|id| (*id as usize) < common.width).collect();
        Ok(common)
    }
}
