//! `Q5_0`: codes of five bits, minus 16, times a scale.
use super::of_32::{Codes, Offset, SmallBlock};

pub(crate) struct Q5_0;

impl SmallBlock for Q5_0 {
    const OFFSET: Offset = Offset::Minus(4);
    const CODES: Codes = Codes::Five;
}
