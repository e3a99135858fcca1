//! Which token sequences are canonical, compared with encoding.
use eft_core::Error;
use eft_core::canonical::Characters;
use proptest::prelude::*;

use super::*;

/// All token sequences of a text that `canonical` accepts.
fn accepted(toy: &Toy, text: &[u8]) -> Vec<Vec<TokenId>> {
    let mut found = Vec::new();
    let mut open = vec![(Vec::new(), toy.canonical.start(), text)];
    while let Some((ids, state, rest)) = open.pop() {
        if rest.is_empty() && toy.canonical.may_end(state) {
            found.push(ids);
            continue;
        }
        for token in SPECIAL..toy.vocab.real() as TokenId {
            if let (Some(state), Some(rest)) =
                (toy.canonical.after(state, token), rest.strip_prefix(toy.vocab.bytes(token).unwrap()))
            {
                open.push(([&ids[..], &[token]].concat(), state, rest));
            }
        }
    }
    found
}

fn choices() -> impl Strategy<Value = Vec<(usize, usize)>> {
    proptest::collection::vec((0usize..40, 0usize..40), 0..14)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(proptest::sample::select(LETTERS), 1..9)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_only_sequence_accepted_is_what_encoding_makes(choices in choices(), text in text()) {
        let toy = Toy::new(&choices);
        prop_assert_eq!(accepted(&toy, &text), vec![toy.bpe.encode(&text).unwrap()]);
    }

    #[test]
    fn a_token_is_allowed_after_another_if_encoding_leaves_both(
        choices in proptest::collection::vec((0usize..1000, 0usize..1000), 0..80),
    ) {
        let toy = Toy::with_tokens_up_to(9, &choices);
        let bytes = |token: TokenId| toy.vocab.bytes(token).unwrap();
        let tokens = SPECIAL..toy.vocab.real() as TokenId;
        let made = |token: &TokenId| toy.bpe.makes(*token);
        for left in tokens.clone().filter(made) {
            let state = toy.canonical.after(toy.canonical.start(), left).unwrap();
            let allowed = toy.canonical.allowed(state, toy.vocab.real());
            for right in tokens.clone() {
                let both = toy.bpe.encode(&[bytes(left), bytes(right)].concat()).unwrap();
                prop_assert_eq!(allowed[right as usize], both == [left, right], "{} {}", left, right);
                prop_assert_eq!(toy.bpe.keeps(left, right), both == [left, right], "{} {}", left, right);
            }
        }
    }

    #[test]
    fn allowed_says_what_after_says(choices in choices(), text in text()) {
        let toy = Toy::new(&choices);
        let tokens: Vec<_> = (0..toy.vocab.real() as TokenId).collect();
        let mut state = toy.canonical.start();
        for token in toy.bpe.encode(&text).unwrap() {
            let allowed = toy.canonical.allowed(state, tokens.len());
            let after: Vec<_> = tokens.iter().map(|t| toy.canonical.after(state, *t).is_some()).collect();
            prop_assert_eq!(allowed, &*after);
            for (token, after) in (0..).zip(after) {
                prop_assert_eq!(toy.canonical.allows_any(state, &[token]), after);
            }
            prop_assert!(!toy.canonical.allows_any(state, &[]) && toy.canonical.allows_any(state, &tokens));
            state = toy.canonical.after(state, token).unwrap();
        }
    }
}

#[test]
fn merges_of_equal_rank_go_from_left_to_right() {
    // a a → aa: "aaa" is "aa" and "a", not "a" and "aa".
    let vocab = Vocab::new("v", ["a", "aa"]).unwrap();
    let bpe = Bpe::new(&vocab, [(0, 0)]).unwrap();
    assert!(bpe.keeps(1, 0) && !bpe.keeps(0, 1) && !bpe.keeps(0, 0) && bpe.keeps(1, 1));
}

#[test]
fn a_token_that_is_gone_merges_no_more() {
    let stay = |tokens: &[&str], merges: &[(TokenId, TokenId)], text: &[u8], pair: [TokenId; 2]| {
        let vocab = Vocab::new("v", tokens.iter().copied()).unwrap();
        let bpe = Bpe::new(&vocab, merges.iter().copied()).unwrap();
        assert_eq!(bpe.encode(text), Some(pair.to_vec()));
        assert!(bpe.keeps(pair[0], pair[1]));
        let tokens = BpeTokens::new(bpe, Pieces::new(PieceRules::whole()));
        let state = tokens.after(tokens.start(), pair[0]).unwrap();
        assert!(tokens.allowed(state, vocab.real())[pair[1] as usize]);
    };
    // "x" would merge with "abc", but it is part of "yx" before there is an "abc".
    let tokens = ["a", "b", "c", "x", "y", "ab", "bc", "abc", "xabc", "yx"];
    stay(&tokens, &[(0, 1), (1, 2), (0, 6), (3, 7), (4, 3), (5, 2)], b"yxabc", [9, 7]);
    // "bc" would merge with "abc", but both become "abc" by the same merge, the left one first.
    let tokens = ["a", "b", "c", "bc", "ab", "abc", "bcabc"];
    stay(&tokens, &[(1, 2), (0, 1), (4, 2), (3, 5), (0, 3)], b"abcabc", [5, 5]);
    // "ab" would merge with "c", but it is made after "c" has become part of "cd".
    let tokens = ["a", "b", "c", "d", "ab", "cd", "abc"];
    stay(&tokens, &[(4, 2), (2, 3), (0, 1)], b"abcd", [4, 5]);
}

#[test]
fn a_token_that_no_merge_makes_is_a_whole_piece_or_nothing() {
    let vocab = Vocab::new("v", ["a", "b", "ab"]).unwrap();
    let bpe = Bpe::new(&vocab, []).unwrap();
    assert_eq!((bpe.unmerged(), bpe.makes(2)), (vec![2], false));
    let bpe = bpe.with_whole_pieces();
    assert!(bpe.makes(2));
    let tokens = BpeTokens::new(bpe, Pieces::new(PieceRules::whole()));
    let state = tokens.after(tokens.start(), 2).unwrap();
    assert!(tokens.after(state, 0).is_none(), "the piece would be longer than the token");
}

#[test]
fn allowed_says_what_after_says_of_unmerged_tokens_and_between_pieces() {
    let tokens = ["a", "b", "ab", "bb", "ba", "aab", "bab", " ", "a "];
    let vocab = Vocab::new("v", tokens).unwrap();
    // Merges make all but "bb" and "bab", and "ba" is found in a text before it is merged. By the rules of GPT-2, a piece ends between
    // "a" and " ", so that they stay as they are.
    let bpe = Bpe::new(&vocab, [(0, 1), (1, 0), (0, 2), (0, 7)]).unwrap().with_whole_pieces().without([4]);
    for rules in [PieceRules::whole(), PieceRules::gpt2(Characters::default())] {
        let canonical = BpeTokens::new(bpe.clone(), Pieces::new(rules));
        let ids = 0..tokens.len() as TokenId;
        let states = ids.clone().filter_map(|id| canonical.after(canonical.start(), id));
        for state in states.chain([canonical.start()]) {
            let after: Vec<_> = ids.clone().map(|id| canonical.after(state, id).is_some()).collect();
            assert_eq!(canonical.allowed(state, tokens.len()), after, "{state:?}");
        }
    }
}

#[test]
fn merges_that_do_not_fit_the_vocabulary_are_refused() {
    // Tokens past the width of the vocabulary are not there.
    let cut = Vocab::new("v", ["a", "bb", "b"]).unwrap().with_width(2).unwrap();
    assert!(matches!(Bpe::new(&cut, [(2, 2)]), Err(Error::BadVocab { .. })));
    let vocab = Vocab::new("v", ["a", "b"]).unwrap();
    for merges in [[(0, 1)], [(0, 7)]] {
        let refused = Bpe::new(&vocab, merges);
        assert!(
            matches!(refused, Err(Error::BadVocab { ref reason, .. }) if reason.contains("merge 0")),
            "{refused:?}"
        );
    }
}
