//! `Q4_0`: codes of four bits, minus 8, times a scale.
use super::of_32::{Codes, Offset, SmallBlock};

pub(crate) struct Q4_0;

impl SmallBlock for Q4_0 {
    const OFFSET: Offset = Offset::Minus(3);
    const CODES: Codes = Codes::Four;
}
