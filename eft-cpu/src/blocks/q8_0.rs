//! `Q8_0`: signed codes of eight bits, times a scale.
use super::of_32::{Codes, Offset, SmallBlock};

pub(crate) struct Q8_0;

impl SmallBlock for Q8_0 {
    const OFFSET: Offset = Offset::Signed;
    const CODES: Codes = Codes::Eight;
}
