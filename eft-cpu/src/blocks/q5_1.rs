//! `Q5_1`: codes of five bits, times a scale, plus an offset.
use super::of_32::{Codes, Offset, SmallBlock};

pub(crate) struct Q5_1;

impl SmallBlock for Q5_1 {
    const OFFSET: Offset = Offset::Stored;
    const CODES: Codes = Codes::Five;
}
