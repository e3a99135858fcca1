//! [`LiteralEncoder`]: encodes text in which some special tokens are meant as tokens, and others as the text they are
//! spelled with.
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use eft_core::TokenId;
use tokenizers::{
    AddedToken, AddedVocabulary, OffsetReferential, OffsetType, PostProcessorWrapper, Tokenizer,
};

/// The character that is put inside the spelling of a special token to mark it as text. A private-use character, which
/// no special token contains.
const MARK: char = '\u{10FFFD}';

/// The characters that stand for special tokens while text is encoded.
const STAND_INS: Range<u32> = 0x10_0000..0x10_FFFD;

/// Encodes text in which the special tokens that are meant as text carry a mark.
///
/// A copy of the tokenizer does this, in which each special token is spelled by a reserved character, its stand-in. In
/// the text, special tokens without a mark are replaced by their stand-ins, and the marks are removed: the remaining
/// spellings of special tokens are ordinary text to the copy.
pub(super) struct LiteralEncoder {
    copy: Tokenizer,
    /// The special tokens: their ids in the original, and their spellings.
    special: BTreeMap<TokenId, String>,
    /// The stand-ins of the special tokens.
    stand_ins: BTreeMap<TokenId, char>,
    /// From the copy's ids of added tokens to the original's.
    ids: BTreeMap<TokenId, TokenId>,
    /// The copy's ids of special tokens.
    of_stand_ins: BTreeSet<TokenId>,
}

type Result<T> = std::result::Result<T, String>;

impl LiteralEncoder {
    pub(super) fn new(original: &Tokenizer) -> Result<Self> {
        let added: BTreeMap<TokenId, AddedToken> = original.get_added_tokens_decoder().into_iter().collect();
        let mut copy = original.clone();
        copy.with_added_vocabulary(AddedVocabulary::new());
        copy.with_post_processor(None::<PostProcessorWrapper>);
        let (mut special, mut stand_ins) = (BTreeMap::new(), BTreeMap::new());
        let mut characters = STAND_INS.filter_map(char::from_u32);
        let mut spellings = Vec::new();
        for (id, token) in &added {
            let mut renamed = token.clone();
            if token.special {
                let stand_in = characters.next().ok_or("it has too many special tokens")?;
                renamed.content = stand_in.into();
                special.insert(*id, token.content.clone());
                stand_ins.insert(*id, stand_in);
            }
            spellings.push((*id, renamed.content.clone()));
            copy.add_tokens([renamed]).map_err(|e| e.to_string())?;
        }
        let (mut ids, mut of_stand_ins) = (BTreeMap::new(), BTreeSet::new());
        for (id, spelling) in spellings {
            let by_copy = copy.token_to_id(&spelling).ok_or("a token without text")?;
            // The model must not make the id of an added token from ordinary text.
            let of_model = tokenizers::Model::id_to_token(copy.get_model(), by_copy);
            if of_model.is_some_and(|token| token != spelling) {
                return Err("the ids of its vocabulary have gaps".into());
            }
            ids.insert(by_copy, id);
            if special.contains_key(&id) {
                of_stand_ins.insert(by_copy);
            }
        }
        Ok(Self { copy, special, stand_ins, ids, of_stand_ins })
    }

    /// Puts a mark into each spelling of a special token in a text.
    pub(super) fn mark<'a>(&self, original: &Tokenizer, text: &'a str) -> Result<Cow<'a, str>> {
        if text.chars().any(|c| c == MARK || STAND_INS.contains(&u32::from(c))) {
            return Err("a message has a private-use character of plane 16, which is needed for marks".into());
        }
        let spellings = self.special.values().flat_map(|spelling| {
            let first = spelling.chars().next().map_or(0, char::len_utf8);
            // Spellings may overlap, so each start is looked at.
            let starts = text.char_indices().map(|(start, _)| start);
            starts
                .filter(|start| text[*start..].starts_with(spelling.as_str()))
                .map(move |start| start + first)
        });
        let marks: BTreeSet<usize> = spellings.collect();
        let marked = if marks.is_empty() {
            Cow::Borrowed(text)
        } else {
            let mut marked = text.to_owned();
            marks.iter().rev().for_each(|at| marked.insert(*at, MARK));
            Cow::Owned(marked)
        };
        // A tokenizer may find a special token in other spellings, too, or in one of a single character.
        match self.find(original, &marked).first() {
            None => Ok(marked),
            Some((_, id)) => {
                Err(format!("a message spells `{}` in a way that cannot be kept as text", self.special[id]))
            }
        }
    }

    /// The text without marks.
    pub(super) fn unmark(marked: &str) -> String {
        marked.replace(MARK, "")
    }

    /// Encodes a marked text, without the tokens that begin and end a sequence.
    pub(super) fn encode(&self, original: &Tokenizer, marked: &str) -> Result<Vec<TokenId>> {
        let (mut text, mut end) = (String::new(), 0);
        let found = self.find(original, marked);
        for (range, id) in &found {
            text.push_str(&Self::unmark(&marked[end..range.start]));
            text.push(self.stand_ins[id]);
            end = range.end;
        }
        text.push_str(&Self::unmark(&marked[end..]));
        let encoding = self.copy.encode(&text[..], false).map_err(|e| e.to_string())?;
        let wrong = || "its special tokens cannot be distinguished from text".to_owned();
        let (mut ids, mut placed) = (Vec::new(), Vec::new());
        for (id, (start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            let mapped = self.ids.get(id).copied().unwrap_or(*id);
            if self.of_stand_ins.contains(id) {
                placed.push(mapped);
            } else if self
                .special
                .get(&mapped)
                .is_some_and(|spelling| text.get(*start..*end) == Some(spelling))
            {
                // The model itself has made a special token of ordinary text.
                return Err(wrong());
            }
            ids.push(mapped);
        }
        if placed.iter().eq(found.iter().map(|(_, id)| id)) { Ok(ids) } else { Err(wrong()) }
    }

    /// The special tokens that the original finds in a text, and where they are spelled.
    fn find(&self, original: &Tokenizer, text: &str) -> Vec<(Range<usize>, TokenId)> {
        let split = original.get_added_vocabulary().extract_and_normalize(original.get_normalizer(), text);
        let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let found = splits.into_iter().filter_map(|(_, (start, end), tokens)| {
            let id = tokens.as_ref()?.first()?.id;
            let spelling = self.special.get(&id)?;
            // The white space around it belongs to the match of some tokens; the copy strips it again.
            let range = match text[start..end].find(spelling.as_str()) {
                Some(at) => start + at..start + at + spelling.len(),
                None => start..end,
            };
            Some((range, id))
        });
        found.collect()
    }
}
