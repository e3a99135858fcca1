//! `IQ4_NL`: codes of four bits that stand for the numbers of a table, times a scale.
use super::of_32::{Codes, Offset, SmallBlock};

pub(crate) struct IQ4NL;

/// The numbers that the codes stand for. They lie closer around zero, where most weights are.
pub(super) const VALUES: [i8; 16] =
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

impl SmallBlock for IQ4NL {
    const OFFSET: Offset = Offset::Signed;
    const CODES: Codes = Codes::Table(VALUES);
}
