use super::characters::{CLASSES, Class};
use super::rules::PieceRules;
use super::states::{ENDS, Moves, START, STATES, table};

/// Follows the pieces that a text is cut into, byte by byte. The [module](super) has an example.
///
/// The text must be UTF-8: there is no state after bytes that begin no text.
#[derive(Debug, Clone)]
pub struct Pieces {
    rules: PieceRules,
    table: Vec<[Moves; CLASSES]>,
    ascii: [Class; 128],
}

/// Whether a piece begins at a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// It must not.
    No,
    /// It may.
    Maybe,
    /// It must.
    Yes,
}

/// A place in a text: the states that the last piece may be in, and the bytes of a character that is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    states: u32,
    /// The value of the bits of the character so far, and how many bytes of it there are and are missing.
    code: u32,
    have: u8,
    lack: u8,
    /// Whether a piece begins with the incomplete character.
    begins: Begins,
}

impl Pieces {
    /// Follows the pieces of these rules.
    pub fn new(rules: PieceRules) -> Self {
        let table = table(&rules);
        debug_assert_eq!(table.len(), STATES);
        let ascii = std::array::from_fn(|code| rules.class(code as u32));
        Self { rules, table, ascii }
    }

    /// The beginning of a text.
    pub(super) fn start(&self) -> Place {
        Place { states: START, code: 0, have: 0, lack: 0, begins: Begins::No }
    }

    /// Whether the text may end here.
    pub(super) fn may_end(&self, place: Place) -> bool {
        place.lack == 0 && place.states & ENDS != 0
    }

    /// The place after one more byte; `None` if no text goes on like this. Within a character no piece begins, so `begins`
    /// counts at the first byte of a character only.
    pub(super) fn after(&self, place: Place, byte: u8, begins: Begins) -> Option<Place> {
        let next = match (place.lack, byte) {
            (0, 0..0x80) => {
                return self.moved(place.states, self.ascii[usize::from(byte)], begins);
            }
            (0, 0xC2..=0xDF) => (u32::from(byte & 0x1F), 1),
            (0, 0xE0..=0xEF) => (u32::from(byte & 0x0F), 2),
            (0, 0xF0..=0xF4) => (u32::from(byte & 0x07), 3),
            (1.., 0x80..=0xBF) => (place.code << 6 | u32::from(byte & 0x3F), place.lack - 1),
            _ => return None,
        };
        let (code, lack) = next;
        let begins = if place.lack == 0 { begins } else { place.begins };
        if lack == 0 {
            return self.moved(place.states, self.rules.class(code), begins);
        }
        let next = Place { code, have: place.have + 1, lack, begins, ..place };
        self.can_be_completed(next).then_some(next)
    }

    fn moved(&self, states: u32, class: Class, begins: Begins) -> Option<Place> {
        let states = self.next(states, class, begins);
        (states != 0).then_some(Place { states, ..self.start() })
    }

    fn next(&self, states: u32, class: Class, begins: Begins) -> u32 {
        let (mut left, mut next) = (states, 0);
        while left != 0 {
            let moves = self.table[left.trailing_zeros() as usize][class as usize];
            left &= left - 1;
            next |= match begins {
                Begins::No => moves.joined,
                Begins::Maybe => moves.joined | moves.begun,
                Begins::Yes => moves.begun,
            };
        }
        next
    }

    /// Whether some character that begins with the bytes so far can follow.
    fn can_be_completed(&self, place: Place) -> bool {
        // The shortest encoding of a character is the only one, and surrogates are no characters.
        let (least, most) = match place.have + place.lack {
            2 => (0x80, 0x7FF),
            3 => (0x800, 0xFFFF),
            _ => (0x1_0000, 0x10_FFFF),
        };
        let bits = 6 * u32::from(place.lack);
        let (first, last) = (place.code << bits, ((place.code + 1) << bits) - 1);
        if first >= 0xD800 && last <= 0xDFFF || last < least || first > most {
            return false;
        }
        let classes = self.rules.classes(first.max(least), last.min(most));
        (0..CLASSES).any(|class| {
            let class = super::characters::ALL_CLASSES[class];
            classes & 1 << class as u32 != 0 && self.next(place.states, class, place.begins) != 0
        })
    }
}

impl Place {
    /// Whether the last character is complete.
    pub(super) fn is_complete(self) -> bool {
        self.lack == 0
    }

    /// The place as a number.
    pub(super) fn pack(self) -> u64 {
        let begins = match self.begins {
            Begins::No => 0,
            Begins::Maybe => 1,
            Begins::Yes => 2,
        };
        u64::from(self.states)
            | u64::from(self.code) << 32
            | u64::from(self.have) << 53
            | u64::from(self.lack) << 55
            | begins << 57
    }

    /// The place that a number stands for.
    pub(super) fn unpack(packed: u64) -> Self {
        let begins = match packed >> 57 & 3 {
            0 => Begins::No,
            1 => Begins::Maybe,
            _ => Begins::Yes,
        };
        Self {
            states: packed as u32,
            code: (packed >> 32) as u32 & 0x1F_FFFF,
            have: (packed >> 53 & 3) as u8,
            lack: (packed >> 55 & 3) as u8,
            begins,
        }
    }
}
