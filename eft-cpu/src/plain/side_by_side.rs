//! Activations of four rows side by side, for products with many rows.
use crate::shared;

/// The number of rows side by side.
pub(super) const ROWS: usize = 4;

/// Rows in groups of [`ROWS`]: each column of a group has its numbers of all these rows. Where rows are missing, numbers are 0.
pub(crate) struct SideBySide {
    columns: usize,
    groups: Vec<[f32; ROWS]>,
}

impl SideBySide {
    /// Arranges rows of `columns` columns.
    pub(crate) fn new(x: &[f32], columns: usize) -> Self {
        let mut groups = vec![[0.0; ROWS]; (x.len() / columns).div_ceil(ROWS) * columns];
        let each = groups.chunks_mut(columns).zip(x.chunks(ROWS * columns)).collect();
        let arrange = |(group, rows): (&mut [[f32; ROWS]], &[f32])| {
            for (row, x) in rows.chunks(columns).enumerate() {
                for (to, x) in group.iter_mut().zip(x) {
                    to[row] = *x;
                }
            }
        };
        shared::for_each(each, arrange);
        Self { columns, groups }
    }

    /// The columns of a group.
    pub(super) fn group(&self, index: usize) -> &[[f32; ROWS]] {
        &self.groups[index * self.columns..][..self.columns]
    }
}
