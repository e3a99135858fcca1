//! Vocabularies that are combined in practice: with padded rows, added tokens, renamed special tokens, other
//! tokenizers.

use crate::common::*;
use eft_core::{Decoding, Error, Evaluator, Host, LogitSource, Sampling, Source, TokenId, Vocab, from_fn};

/// A model whose padding, past its real tokens, has the highest scores.
fn padded(name: &str, real: usize, width: usize, seed: u64) -> Source<Host> {
    let letters = (0..real as u8).map(|i| vec![b'a' + i]);
    let vocab = Vocab::new(name, letters).unwrap().with_eos([0]).unwrap().with_width(width).unwrap();
    from_fn(Host, vocab, move |tokens| {
        let mut row = logits(seed, tokens, width);
        row[real..].fill(1e4);
        Ok(row)
    })
}

#[test]
fn combinations_are_cut_to_the_real_tokens_of_all_terms() {
    let (base, tuned, untuned) =
        (padded("base", 8, 16, 1), padded("tuned", 9, 9, 2), padded("untuned", 8, 12, 3));
    let sum = &base + (&tuned - &untuned);
    assert_eq!(sum.vocab().real(), 8);
    let check = sum.check().unwrap();
    assert_eq!((check.common, check.renamed.len()), (8, 0));
    let expected: Vec<_> =
        (0..8).map(|i| logits(1, &[3], 16)[i] + (logits(2, &[3], 9)[i] - logits(3, &[3], 12)[i])).collect();
    assert_near(&scores_after(&sum, &[3], &[]), &expected, 1e-4);
    for source in [base, sum] {
        for sampling in [Sampling::greedy(), Sampling::default().temperature(5.0)] {
            let text = source.generate([3], Decoding::from(sampling).stop_ids([]).max_tokens(40)).unwrap();
            assert!(text.map(|t| t.unwrap().id).all(|id| id < 8));
        }
    }
}

#[test]
fn the_probabilities_of_a_rule_are_normalised_after_the_cut() {
    let (a, b) = (padded("a", 8, 16, 1), padded("b", 8, 12, 2));
    let mixture = eft_core::combine::mixture([(0.5, &a), (0.5, &b)]).unwrap();
    let total: f32 = log_probs_after(&mixture, &[3], &[]).iter().map(|x| x.exp()).sum();
    let of = |source: &Source<Host>, i: usize| log_probs_after(source, &[3], &[])[i].exp();
    assert!((total - 1.0).abs() < 1e-5);
    for i in 0..8 {
        let expected = 0.5 * of(&a, i) + 0.5 * of(&b, i);
        assert!((log_probs_after(&mixture, &[3], &[])[i].exp() - expected).abs() < 1e-5);
    }
}

#[test]
fn equal_widths_with_other_tokens_are_refused_by_name_and_first_id() {
    let swapped = ["a", "b", "d", "c"];
    let left = from_fn(Host, Vocab::new("llama", ["a", "b", "c", "d"]).unwrap(), |_| Ok(vec![0.0; 4]));
    let right = from_fn(Host, Vocab::new("qwen", swapped).unwrap(), |_| Ok(vec![0.0; 4]));
    let error = (&left - &right).open(&[[0].into()]).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::VocabMismatch { id: 2, .. }), "{text}");
    for part in ["llama", "qwen", "id 2", "\"c\"", "\"d\""] {
        assert!(text.contains(part), "{text}");
    }
    // The vocabulary of a term that is not run does not matter.
    assert!((&left + 0.0 * &right).open(&[[0].into()]).is_ok());
}

#[test]
fn renamed_and_reserved_special_tokens_are_reported_and_usable() {
    let vocab = |name: &str, special: Option<&str>| {
        let tokens = [Some("a"), Some("b"), special, Some("</s>")].map(|t| t.map(|t| t.as_bytes().to_vec()));
        let special = if special.is_some() { vec![2, 3] } else { vec![3] };
        Vocab::sparse(name, tokens).unwrap().with_special(special).unwrap().with_eos([3]).unwrap()
    };
    let (base, chat) = (vocab("base", Some("<|reserved_0|>")), vocab("chat", Some("<|im_start|>")));
    assert_eq!(base.relation(&chat).unwrap().renamed, [2]);
    assert_eq!(base.relation(&vocab("reserved", None)).unwrap().renamed, [2]);
    let source = |v: Vocab| from_fn(Host, v, |_| Ok(vec![0.0, 1.0, 2.0, 3.0]));
    let check = (source(base) + source(chat)).check().unwrap();
    assert_eq!(check.renamed[0].0, 2);
    assert!(check.renamed[0].1.0.contains("reserved_0") && check.renamed[0].1.1.contains("im_start"));
}

#[test]
fn unassigned_ids_are_never_generated() {
    let tokens = [Some("a"), None, Some("b"), None].map(|t| t.map(|t| t.as_bytes().to_vec()));
    let vocab = Vocab::sparse("gaps", tokens).unwrap().with_width(4).unwrap();
    assert_eq!((vocab.real(), vocab.unassigned()), (3, vec![1]));
    let source = from_fn(Host, vocab, |_| Ok(vec![0.0, 9.0, 1.0, 9.0]));
    let text = source.generate([0], Decoding::default().max_tokens(30)).unwrap();
    assert!(text.map(|t| t.unwrap().id).all(|id| id == 0 || id == 2));
}

#[test]
fn a_stop_id_past_the_common_tokens_is_an_error() {
    let long = |eos: TokenId| {
        let letters = ["a", "b", "c", "<|end|>"];
        let vocab = Vocab::new("tuned", letters).unwrap().with_eos([eos]).unwrap();
        from_fn(Host, vocab, |_| Ok(vec![0.0; 4]))
    };
    let short = from_fn(Host, Vocab::new("base", ["a", "b", "c"]).unwrap(), |_| Ok(vec![0.0; 3]));
    let sum = &short + long(3);
    for result in [sum.check().map(drop), sum.generate([0], Sampling::greedy()).map(drop)] {
        match result {
            Err(Error::StopIdCut { vocab, id: 3, common: 3 }) => assert_eq!(vocab, "tuned"),
            other => panic!("{other:?}"),
        }
    }
    // It cannot stop through a bridge either.
    assert!(eft_core::bridge(sum.clone(), Host).generate([0], Sampling::greedy()).is_err());
    assert!(sum.generate([0], Decoding::default().stop_ids([1])).is_ok());
    for never in [Decoding::default().stop_ids([3]), Decoding::default().stop_ids([1]).stop_sequence([0, 3])]
    {
        let refused = sum.generate([0], never).map(drop);
        assert!(matches!(refused, Err(Error::StopIdOutOfRange { id: 3, common: 3 })), "{refused:?}");
    }
    assert_eq!((&short + long(2)).stop_ids().into_iter().collect::<Vec<_>>(), [2]);
}

#[test]
fn the_stop_ids_are_those_of_any_term() {
    let ending = |name: &str, eos: TokenId, best: usize| {
        from_fn(Host, vocab(name).with_eos([eos]).unwrap(), move |_| {
            Ok((0..WIDTH).map(|i| if i == best { 5.0 } else { 0.0 }).collect())
        })
    };
    for best in [2, 4] {
        let sum = ending("base", 2, best) + ending("tuned", 4, best);
        assert_eq!(sum.generate([0], Sampling::greedy()).unwrap().count(), 0);
    }
}

#[test]
fn anonymous_vocabularies_relate_only_to_the_same_name_and_size() {
    let anonymous = |name: &str, size| Vocab::anonymous(name, size).unwrap();
    assert_eq!(anonymous("m", 5).relation(&anonymous("m", 5)).unwrap().common, 5);
    for other in [anonymous("m", 6), anonymous("n", 5), Vocab::new("m", ["a"; 5]).unwrap()] {
        assert!(matches!(anonymous("m", 5).relation(&other), Err(Error::VocabMismatch { .. })));
    }
}

#[test]
fn contradictory_vocabularies_are_refused() {
    assert!(Vocab::new("none", Vec::<Vec<u8>>::new()).is_err());
    assert!(Vocab::anonymous("none", 0).is_err());
    let ab = || Vocab::new("ab", ["a", "b"]).unwrap();
    assert!(ab().with_eos([2]).is_err() && ab().with_special([9]).is_err() && ab().with_width(0).is_err());
    assert_eq!(ab().with_width(1).unwrap().real(), 1);
}

#[test]
fn fingerprints_depend_on_tokens_and_nothing_else() {
    let print = |tokens: &[&str]| Vocab::new("v", tokens.iter().copied()).unwrap().fingerprint();
    assert_eq!(print(&["a", "b"]), Vocab::new("w", ["a", "b"]).unwrap().with_eos([1]).unwrap().fingerprint());
    assert_ne!(print(&["a", "b"]), print(&["b", "a"]));
    assert_ne!(print(&["ab", ""]), print(&["a", "b"]));
    // It may be stored, so it must never change. The number is by another implementation of FNV-1a.
    assert_eq!(print(&["a", "b"]), 0xf6bf_b22f_fe2c_b4f7_6fdf_05ba_abaa_20fe);
}

#[test]
fn each_root_of_an_evaluator_has_its_own_width() {
    let (a, b) = (padded("a", 8, 16, 1), padded("b", 6, 12, 2));
    let evaluator = Evaluator::open(&[&a, &(&a + &b)], &[[1].into()]).unwrap();
    assert_eq!((evaluator.width(0).unwrap(), evaluator.width(1).unwrap()), (8, 6));
}

#[test]
fn vocabularies_read_twice_are_as_good_as_one() {
    let read = |name: &str, width| {
        let tokens = (0..WIDTH as u8).map(|i| vec![b'a' + i]);
        Vocab::new(name, tokens).unwrap().with_width(width).unwrap()
    };
    let (base, tuned) = (read("base", 16), read("tuned", 9));
    assert_eq!(base.fingerprint(), tuned.fingerprint());
    let relation = base.relation(&tuned).unwrap();
    assert_eq!((relation.common, relation.extra, relation.renamed.len()), (9, WIDTH - 9, 0));
    // Special in one of them only: still the same token.
    assert!(base.relation(&tuned.with_special([3]).unwrap()).unwrap().renamed.is_empty());
}
