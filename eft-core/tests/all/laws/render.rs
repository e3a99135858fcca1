//! Token ids of prompts and of text that follows them, for combinations.
use std::sync::Arc;

use eft_core::{Error, Host, Prompt, PromptTransform, Renderer, Result, Source, TokenId, combine};

use crate::common::*;

/// One token for each letter, after a special first token.
struct Letters {
    first: TokenId,
    offset: TokenId,
}

impl Renderer for Letters {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        match prompt {
            Prompt::Text(text) => Ok([&[self.first][..], &self.continuation(term, text)?].concat()),
            other => Err(Error::Unsupported { who: term.into(), what: other.form().into() }),
        }
    }

    fn continuation(&self, _: &str, text: &str) -> Result<Vec<TokenId>> {
        Ok(text.bytes().map(|byte| u32::from(byte - b'a') + self.offset).collect())
    }
}

/// Renderers can be shared by models.
struct Shared(Arc<Letters>);

impl Renderer for Shared {
    fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
        self.0.render(term, prompt)
    }

    fn continuation(&self, term: &str, text: &str) -> Result<Vec<TokenId>> {
        self.0.continuation(term, text)
    }
}

fn with(name: &str, renderer: &Arc<Letters>) -> Source<Host> {
    model(name, 1).rendered_by(Shared(renderer.clone())).unwrap().named(name)
}

#[test]
fn models_that_make_the_same_ids_of_text_answer_as_one() {
    let letters = Arc::new(Letters { first: 9, offset: 0 });
    let (large, tuned, small) = (with("large", &letters), with("tuned", &letters), with("small", &letters));
    for combined in [
        &large + 0.7 * (&tuned - &small),
        combine::nucleus_delta(&large, &tuned, &small, 1.0, 0.9).unwrap(),
        &large + tuned.under(PromptTransform::new(|prompt| Ok(prompt.clone()))),
    ] {
        assert_eq!(combined.continuation("cab").unwrap(), [2, 0, 1]);
        assert_eq!(combined.render("cab").unwrap(), [9, 2, 0, 1]);
    }
    // Different prompts, the same tokens for text.
    let hinted = &large - tuned.under(PromptTransform::preamble("bb"));
    assert_eq!(hinted.continuation("a").unwrap(), [0]);
    match hinted.render("a") {
        Err(Error::Unsupported { what, .. }) => {
            assert!(what.contains("`large`") && what.contains("`tuned`"), "{what}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn models_that_make_different_ids_are_named() {
    let (letters, others) =
        (Arc::new(Letters { first: 9, offset: 0 }), Arc::new(Letters { first: 9, offset: 1 }));
    let combined = with("large", &letters) + with("strange", &others);
    for refused in [combined.continuation("ab"), combined.render("ab")] {
        match refused {
            Err(Error::Unsupported { what, .. }) => {
                assert!(what.contains("`large`") && what.contains("`strange`"), "{what}");
            }
            other => panic!("{other:?}"),
        }
    }
    // A model without a tokenizer says so.
    let mute = with("large", &letters) + model("mute", 2);
    assert!(matches!(mute.continuation("ab"), Err(Error::CannotRender { term, .. }) if term == "mute"));
    let opaque = with("large", &letters) + Source::opaque(with("opaque", &letters));
    assert!(matches!(opaque.continuation("ab"), Err(Error::Unsupported { .. })));
}
