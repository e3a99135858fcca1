//! From prompts to token ids, for all models of a source at once.
use std::borrow::Cow;
use std::sync::Arc;

use super::{Leaf, Node, Source};
use crate::backend::Backend;
use crate::prompt::{PromptTransform, Renderer};
use crate::{Error, Prompt, Result, TokenId};

impl<B: Backend> Source<B> {
    /// Returns the same model with another renderer, which makes token ids of its prompts.
    ///
    /// ```
    /// use eft_core::{from_fn, Error, Host, Prompt, Renderer, Result, TokenId, Vocab};
    ///
    /// /// One token for each letter.
    /// struct Letters;
    ///
    /// impl Renderer for Letters {
    ///     fn render(&self, term: &str, prompt: &Prompt) -> Result<Vec<TokenId>> {
    ///         match prompt {
    ///             Prompt::Text(text) => self.continuation(term, text),
    ///             other => Err(Error::Unsupported { who: term.into(), what: other.form().into() }),
    ///         }
    ///     }
    ///
    ///     fn continuation(&self, _: &str, text: &str) -> Result<Vec<TokenId>> {
    ///         Ok(text.bytes().map(|byte| u32::from(byte - b'a')).collect())
    ///     }
    /// }
    ///
    /// let model = from_fn(Host, Vocab::new("abc", ["a", "b", "c"])?, |_| Ok(vec![0.0, 1.0, 2.0]));
    /// let model = model.rendered_by(Letters)?;
    /// assert_eq!(model.render("cab")?, [2, 0, 1]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the source is a combination or opaque: each of its models has its own renderer.
    pub fn rendered_by(&self, renderer: impl Renderer + 'static) -> Result<Self> {
        let renderer: Arc<dyn Renderer> = Arc::new(renderer);
        let rendered =
            self.with_leaf("a renderer", |leaf, _| Ok(Leaf { renderer: renderer.clone(), ..leaf.clone() }))?;
        Ok(match self.given_name() {
            Some(name) => rendered.named(name),
            None => rendered,
        })
    }

    /// Returns the token ids that the models of the source make of a prompt.
    ///
    /// # Errors
    /// * [`Error::CannotRender`] if a model has no tokenizer or no template for this form of prompt.
    /// * [`Error::Unsupported`] if two models make different ids of it (the error names them), or if one is opaque.
    /// * [`Error::TooComplex`] if the combination is too large.
    /// * Any error of a [`PromptTransform`].
    pub fn render(&self, prompt: impl Into<Prompt>) -> Result<Vec<TokenId>> {
        let prompt = prompt.into();
        let mut done: Vec<(&Arc<dyn Renderer>, Cow<'_, Prompt>)> = Vec::new();
        self.same_ids("a prompt", |name, renderer, transforms| {
            let mut rendered = Cow::Borrowed(&prompt);
            for transform in transforms {
                rendered = Cow::Owned(transform.apply(&rendered)?);
            }
            if done.iter().any(|(r, p)| Arc::ptr_eq(r, renderer) && *p == rendered) {
                return Ok(None);
            }
            let ids = renderer.render(name, &rendered)?;
            done.push((renderer, rendered));
            Ok(Some(ids))
        })
    }

    /// Returns the token ids that the models of the source make of text that follows a prompt: see
    /// [`Renderer::continuation`].
    ///
    /// # Errors
    /// * [`Error::CannotRender`] if a model has no tokenizer.
    /// * [`Error::Unsupported`] if two models make different ids of it (the error names them), or if one is opaque.
    /// * [`Error::TooComplex`] if the combination is too large.
    pub fn continuation(&self, text: &str) -> Result<Vec<TokenId>> {
        let mut done: Vec<&Arc<dyn Renderer>> = Vec::new();
        self.same_ids("text after a prompt", |name, renderer, _| {
            if done.iter().any(|r| Arc::ptr_eq(r, renderer)) {
                return Ok(None);
            }
            done.push(renderer);
            renderer.continuation(name, text).map(Some)
        })
    }

    /// The ids that `render` returns for every model, which must be equal. `render` returns `None` to skip a model.
    fn same_ids<'a>(
        &'a self,
        what: &str,
        mut render: impl FnMut(&str, &'a Arc<dyn Renderer>, &[&PromptTransform]) -> Result<Option<Vec<TokenId>>>,
    ) -> Result<Vec<TokenId>> {
        let mut first: Option<(String, Vec<TokenId>)> = None;
        for model in self.models()? {
            let name = model.source.name();
            let Node::Leaf(leaf) = model.source.node() else {
                let what = format!("making token ids of {what}: it is opaque");
                return Err(Error::Unsupported { who: name, what });
            };
            match (render(&name, &leaf.renderer, &model.transforms)?, &first) {
                (None, _) => {}
                (Some(ids), None) => first = Some((name, ids)),
                (Some(ids), Some((_, same))) if ids == *same => {}
                (Some(_), Some((other, _))) => {
                    let what = format!(
                        "one list of token ids for {what}: `{other}` and `{name}` make different ones"
                    );
                    return Err(Error::Unsupported { who: self.name(), what });
                }
            }
        }
        Ok(first.map(|(_, ids)| ids).unwrap_or_default())
    }
}
