use std::collections::HashMap;
use std::hash::Hash;

/// The clusters that the items of a task belong to. A bootstrap resamples whole clusters, since items of one cluster,
/// such as questions about one text, are not independent.
///
/// ```
/// use eft_eval::stats::Clusters;
///
/// let clusters = Clusters::by(["Nora", "Ada", "Nora"]);
/// assert_eq!((clusters.items(), clusters.len()), (3, 2));
/// assert_eq!(Clusters::each(3).len(), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters {
    /// The cluster of each item.
    of_item: Vec<usize>,
    count: usize,
}

impl Clusters {
    /// Makes each of `items` items a cluster of its own.
    #[must_use]
    pub fn each(items: usize) -> Self {
        Self { of_item: (0..items).collect(), count: items }
    }

    /// Puts items with equal keys into one cluster. `keys` has the key of each item: the value of a field, for example.
    #[must_use]
    pub fn by<K: Eq + Hash>(keys: impl IntoIterator<Item = K>) -> Self {
        let mut known = HashMap::new();
        let of_item = keys.into_iter().map(|key| {
            let next = known.len();
            *known.entry(key).or_insert(next)
        });
        let of_item = of_item.collect();
        Self { of_item, count: known.len() }
    }

    /// Returns the number of clusters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Returns whether there are no clusters, and so no items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the number of items.
    #[must_use]
    pub fn items(&self) -> usize {
        self.of_item.len()
    }

    /// Returns the cluster of each item, as an index below [`len`](Self::len).
    #[must_use]
    pub fn of_items(&self) -> &[usize] {
        &self.of_item
    }

    /// Adds up scores by cluster.
    pub(super) fn totals(&self, scores: &[f64]) -> Vec<Total> {
        let mut totals = vec![Total::default(); self.count];
        for (cluster, score) in self.of_item.iter().zip(scores) {
            totals[*cluster].add(Total { sum: *score, items: 1.0 });
        }
        totals
    }
}

/// The sum of the scores of some items, and the number of these items.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Total {
    pub(super) sum: f64,
    pub(super) items: f64,
}

impl Total {
    fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.items += other.items;
    }

    fn mean(self) -> f64 {
        self.sum / self.items
    }
}

/// The mean score of the items of these clusters, each counted as often as it is named.
pub(super) fn mean_of(totals: &[Total], clusters: &[usize]) -> f64 {
    let mut all = Total::default();
    clusters.iter().for_each(|cluster| all.add(totals[*cluster]));
    all.mean()
}
