use std::sync::Arc;

use eft_core::backend::Backend;
use eft_core::decode::{FinishReason, Joint, JointWork, Request, TextEvent, Variant};
use eft_core::{Decoding, Error, Result, Source, TokenId};

use super::refuses_prompt;

/// How many requests are generated in one batch, unless [`Sweep::batch`] sets it.
const BATCH: usize = 64;

/// Variants of generation by the values that make them. See the [module](super) for an example.
#[derive(Debug)]
#[must_use]
pub struct Sweep<V, B: Backend> {
    values: Vec<V>,
    variants: Vec<Variant<B>>,
    batch: usize,
}

/// A text that was written for a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The text, up to its end-of-sequence token, stop sequence or stop string.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<TokenId>,
    /// Why it ended.
    pub reason: FinishReason,
}

/// A text, or the reason why its prompt was refused.
pub type SweptText = Result<Written, Arc<Error>>;

/// The texts of all values of a [`Sweep`].
#[derive(Debug)]
#[must_use]
pub struct Swept {
    /// For each value, a text for each sample of each request, in the order of the requests.
    pub texts: Vec<Vec<SweptText>>,
    /// How much the values have shared.
    pub work: JointWork,
}

impl<V, B: Backend> Sweep<V, B> {
    /// Makes a sweep of variants, each with its value: those of a temperature, for example.
    ///
    /// ```
    /// use eft_core::decode::Variant;
    /// use eft_core::{Host, Sampling, Vocab, from_fn};
    /// use eft_eval::sweep::Sweep;
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0]));
    /// let at = |temperature| Variant::new(model.clone(), Sampling::default().temperature(temperature));
    /// let sweep = Sweep::new([0.5, 0.7, 1.0].map(|temperature| (temperature, at(temperature))));
    /// assert_eq!(sweep.values(), [0.5, 0.7, 1.0]);
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    pub fn new(variants: impl IntoIterator<Item = (V, Variant<B>)>) -> Self {
        let (values, variants) = variants.into_iter().unzip();
        Self { values, variants, batch: BATCH }
    }

    /// Makes a sweep of sources that differ in one value, under the same settings of generation.
    pub fn over(
        values: impl IntoIterator<Item = V>,
        decoding: impl Into<Decoding>,
        source: impl Fn(&V) -> Source<B>,
    ) -> Self {
        let decoding = decoding.into();
        Self::new(values.into_iter().map(|value| {
            let variant = Variant::new(source(&value), &decoding);
            (value, variant)
        }))
    }

    /// Sets how many requests are generated at once, at least 1; 64 by default. The models then have at most as many rows
    /// as there are values for each sample of these requests, and need the memory of their KV caches.
    pub fn batch(mut self, requests: usize) -> Self {
        self.batch = requests.max(1);
        self
    }

    /// Returns the values, in their order.
    #[must_use]
    pub fn values(&self) -> &[V] {
        &self.values
    }

    /// Generates the texts of all values for the requests. The texts of a value are those that
    /// [`Source::generate_batch`] writes for these requests: a request without an id has its index as its id.
    ///
    /// ```
    /// use eft_core::decode::Request;
    /// use eft_core::{Decoding, Host, Sampling, Vocab, from_fn};
    /// use eft_eval::sweep::Sweep;
    ///
    /// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0]));
    /// let decoding = Decoding::from(Sampling::default().seed(3)).max_tokens(4);
    /// let swept = Sweep::over([0.5, 1.0, 2.0], decoding, |weight| *weight * &model).run([Request::new([0]).samples(2)])?;
    /// assert_eq!((swept.texts.len(), swept.texts[0].len()), (3, 2));
    /// # Ok::<(), eft_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// * The errors of [`Joint::open`], such as settings that are out of their range.
    /// * [`Error::Unsupported`] if the bytes of a vocabulary's tokens are not known.
    /// * Any failure of a model.
    ///
    /// A prompt that the models refuse does not fail the others: its texts are errors.
    pub fn run<R: Into<Request>>(&self, requests: impl IntoIterator<Item = R>) -> Result<Swept> {
        let requests: Vec<Request> = requests.into_iter().map(Into::into).collect();
        let with_ids = requests.into_iter().enumerate().map(|(index, mut request)| {
            request.id.get_or_insert(index as u64);
            request
        });
        let requests: Vec<_> = with_ids.collect();
        let mut swept =
            Swept { texts: self.values.iter().map(|_| Vec::new()).collect(), work: JointWork::default() };
        for batch in requests.chunks(self.batch) {
            self.run_batch(batch, &mut swept)?;
        }
        Ok(swept)
    }

    fn run_batch(&self, requests: &[Request], swept: &mut Swept) -> Result<()> {
        let joint = match Joint::open(self.variants.iter().cloned(), requests.iter().cloned()) {
            Ok(joint) => joint,
            // The models refuse every prompt of the batch, each for a reason of its own.
            Err(error) if refuses_prompt(&error) => {
                let [request] = requests else {
                    return requests
                        .iter()
                        .try_for_each(|one| self.run_batch(std::slice::from_ref(one), swept));
                };
                let error = Arc::new(error);
                for texts in &mut swept.texts {
                    texts.extend((0..request.samples).map(|_| Err(error.clone())));
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let of_value = joint.rows() / self.values.len();
        let mut events = joint.text()?;
        let mut open: Vec<_> =
            (0..of_value * self.values.len()).map(|_| (String::new(), Vec::new())).collect();
        let mut done: Vec<Option<SweptText>> = open.iter().map(|_| None).collect();
        for event in events.by_ref() {
            match event? {
                TextEvent::Piece { row, piece } => {
                    open[row].0.push_str(&piece.text);
                    open[row].1.extend(piece.tokens.iter().map(|token| token.id));
                }
                TextEvent::Finished { row, finished } => {
                    let (text, tokens) = std::mem::take(&mut open[row]);
                    done[row] = Some(Ok(Written { text, tokens, reason: finished.reason }));
                }
                TextEvent::Failed { row, error } => done[row] = Some(Err(error)),
            }
        }
        swept.work.add(events.into_inner().work());
        // Every row has ended, since no error has ended all rows.
        let mut done = done.into_iter().flatten();
        for texts in &mut swept.texts {
            texts.extend(done.by_ref().take(of_value));
        }
        Ok(())
    }
}

impl Swept {
    /// Scores the texts: returns for each value a score for each sample of each request. `score` takes the index of the
    /// sample among those of all requests, and its text.
    #[must_use]
    pub fn scores(&self, score: impl Fn(usize, &SweptText) -> f64) -> Vec<Vec<f64>> {
        let of_value = |texts: &Vec<SweptText>| {
            texts.iter().enumerate().map(|(index, text)| score(index, text)).collect()
        };
        self.texts.iter().map(of_value).collect()
    }
}
