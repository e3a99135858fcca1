//! The states that a piece can be in, and which follow which: the regular expressions of [`PieceRules`] as an automaton.
//!
//! Where an expression looks ahead, the automaton guesses, and is in several states at once until it knows. The states
//! whose guess was wrong have no successor.
use super::characters::{CLASSES, Class};
use super::rules::{Numbers, PieceRules, Style};

/// A state, as the index of a bit in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// At the beginning, or after a piece that is complete.
    Done,
    /// In a word.
    Letters,
    /// In a number of one, two, and three or more digits.
    Number1,
    Number2,
    Number3,
    /// In punctuation and symbols.
    Others,
    /// In newlines that belong to the punctuation before them.
    OthersNewline,
    /// After one symbol at the beginning of a piece, which may belong to the word after it.
    Other1,
    /// After an apostrophe at the beginning of a piece.
    Apostrophe,
    /// In a contraction that lacks an e.
    LacksE,
    /// In a contraction that lacks an l.
    LacksL,
    /// In a word that would be a contraction if an e followed.
    NotE,
    /// In a word that would be a contraction if an l followed.
    NotL,
    /// In white space that only white space follows, or the end of the text.
    White,
    /// After the last character of white space before something else: a space, or another character.
    LastSpace,
    LastWhite,
    /// In white space with a newline to come.
    BeforeNewline,
    /// After the last newline of white space.
    LastNewline,
}

use State::*;

/// Where a piece stands after one more character, as sets of states.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moves {
    /// If the character belongs to the same piece as the one before it.
    pub(super) joined: u32,
    /// If the character begins a piece.
    pub(super) begun: u32,
}

/// The number of states.
pub(super) const STATES: usize = State::LastNewline as usize + 1;

/// The states at the beginning of a text.
pub(super) const START: u32 = set(&[Done]);

/// The states in which a text may end.
pub(super) const ENDS: u32 = set(&[
    Done,
    Letters,
    Number1,
    Number2,
    Number3,
    Others,
    OthersNewline,
    Other1,
    Apostrophe,
    NotE,
    NotL,
    White,
    LastNewline,
]);

const ALL: [State; STATES] = [
    Done,
    Letters,
    Number1,
    Number2,
    Number3,
    Others,
    OthersNewline,
    Other1,
    Apostrophe,
    LacksE,
    LacksL,
    NotE,
    NotL,
    White,
    LastSpace,
    LastWhite,
    BeforeNewline,
    LastNewline,
];

const fn set(states: &[State]) -> u32 {
    let (mut bits, mut i) = (0, 0);
    while i < states.len() {
        bits |= 1 << states[i] as u32;
        i += 1;
    }
    bits
}

/// The next states for each state, and each class of the next character.
pub(super) fn table(rules: &PieceRules) -> Vec<[Moves; CLASSES]> {
    let of = |state| super::characters::ALL_CLASSES.map(|class| moves(rules, state, class));
    ALL.iter().map(|state| of(*state)).collect()
}

fn is_letter(class: Class) -> bool {
    matches!(class, Class::Letter | Class::Ending | Class::BeforeE | Class::E | Class::L)
}

fn is_white(class: Class) -> bool {
    matches!(class, Class::Space | Class::Newline | Class::White)
}

/// The states after a character that begins a piece.
fn begin(rules: &PieceRules, class: Class) -> u32 {
    let lines = rules.style == Style::Cl100k;
    let before_newline = if lines { set(&[BeforeNewline]) } else { 0 };
    match class {
        class if is_letter(class) => set(&[Letters]),
        Class::Number => match rules.numbers {
            Numbers::Alone | Numbers::UpTo(0 | 1) => set(&[Done]),
            Numbers::Run | Numbers::UpTo(_) => set(&[Number1]),
        },
        Class::Newline if lines => set(&[BeforeNewline, LastNewline]),
        Class::Space => set(&[White, LastSpace]) | before_newline,
        Class::Newline | Class::White => set(&[White, LastWhite]) | before_newline,
        Class::Apostrophe => set(&[Apostrophe]),
        _ if lines => set(&[Other1]),
        _ => set(&[Others]),
    }
}

fn moves(rules: &PieceRules, state: State, class: Class) -> Moves {
    let joined = |states: &[State]| Moves { joined: set(states), begun: 0 };
    if rules.style == Style::Whole {
        return if state == Done { Moves { joined: 0, begun: set(&[Letters]) } } else { joined(&[Letters]) };
    }
    let lines = rules.style == Style::Cl100k;
    let begun = Moves { joined: 0, begun: begin(rules, class) };
    let none = Moves::default();
    if class == Class::Number && rules.numbers == Numbers::Alone {
        // The digit is cut out first, so the text before it ends there.
        return if ENDS & set(&[state]) != 0 { begun } else { none };
    }
    let word = is_letter(class).then_some(joined(&[Letters]));
    let others = matches!(class, Class::Other | Class::Apostrophe).then_some(joined(&[Others]));
    let newline = (lines && class == Class::Newline).then_some(joined(&[OthersNewline]));
    match state {
        Done => begun,
        Letters => word.unwrap_or(begun),
        Number1 | Number2 | Number3 if class != Class::Number => begun,
        Number1 | Number2 | Number3 => match (state, rules.numbers) {
            (Number1, Numbers::Run | Numbers::UpTo(2..)) => joined(&[Number2]),
            (_, Numbers::Run) => joined(&[Number3]),
            (Number2, Numbers::UpTo(3..)) => joined(&[Number3]),
            _ => begun,
        },
        Others => others.or(newline).unwrap_or(begun),
        OthersNewline => newline.unwrap_or(begun),
        Other1 => word.or(others).or(newline).unwrap_or(begun),
        Apostrophe => {
            // Without a contraction, the apostrophe belongs to the word after it, or is a piece of its own.
            let (contraction, otherwise) = match class {
                Class::Ending => return joined(&[Done]),
                Class::BeforeE => (set(&[LacksE]), set(&[NotE])),
                Class::L => (set(&[LacksL]), set(&[NotL])),
                class if is_letter(class) => (0, set(&[Letters])),
                _ => return others.or(newline).unwrap_or(begun),
            };
            match lines {
                true => Moves { joined: contraction | otherwise, begun: 0 },
                false => Moves { joined: contraction, begun: otherwise },
            }
        }
        LacksE if class == Class::E => joined(&[Done]),
        LacksL if class == Class::L => joined(&[Done]),
        LacksE | LacksL => none,
        NotE if class == Class::E => none,
        NotL if class == Class::L => none,
        NotE | NotL => word.unwrap_or(begun),
        White => match class {
            Class::Newline if lines => none,
            Class::Space => Moves { joined: set(&[White]), begun: set(&[LastSpace]) },
            Class::Newline | Class::White => Moves { joined: set(&[White]), begun: set(&[LastWhite]) },
            _ => none,
        },
        LastSpace | LastWhite if is_white(class) => none,
        LastSpace if class == Class::Number => match rules.numbers {
            Numbers::Run => joined(&[Number1]),
            _ => begun,
        },
        LastSpace => word.or(others).unwrap_or(begun),
        LastWhite if lines => word.unwrap_or(begun),
        LastWhite => begun,
        BeforeNewline => match class {
            Class::Newline => joined(&[BeforeNewline, LastNewline]),
            Class::Space | Class::White => joined(&[BeforeNewline]),
            _ => none,
        },
        LastNewline => match class {
            Class::Newline => none,
            Class::Space => Moves { joined: 0, begun: set(&[White, LastSpace]) },
            Class::White => Moves { joined: 0, begun: set(&[White, LastWhite]) },
            _ => begun,
        },
    }
}
