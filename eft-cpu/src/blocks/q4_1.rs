//! `Q4_1`: codes of four bits, times a scale, plus an offset.
use super::of_32::{Codes, Offset, SmallBlock};

pub(crate) struct Q4_1;

impl SmallBlock for Q4_1 {
    const OFFSET: Offset = Offset::Stored;
    const CODES: Codes = Codes::Four;
}
