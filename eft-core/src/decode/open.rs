//! Opening an evaluator on the prompts of a batch of requests.
use std::ops::Range;
use std::sync::Arc;

use super::request::Request;
use super::stop::StopRules;
use crate::backend::Backend;
use crate::check;
use crate::error::in_row;
use crate::evaluator::{Evaluator, OpenOptions};
use crate::sample::{Decoding, RowId, RowStart};
use crate::scores::consecutive;
use crate::{Error, Prompt, Result, Source};

/// The settings of one row of a batch.
pub(super) struct RowSettings {
    pub(super) start: RowStart,
    /// The number of rivals that its tokens are compared with, if they are attributed to the terms.
    pub(super) rivals: Option<usize>,
    pub(super) max_tokens: Option<usize>,
    pub(super) stops: StopRules,
    pub(super) stop_strings: Vec<String>,
    pub(super) keep_stop: bool,
}

/// The rows of a batch that is about to be generated.
pub(crate) struct Rows {
    /// For each row of the evaluator, its index among all rows.
    pub(super) active: Vec<usize>,
    /// For each of the evaluator's rows, its settings.
    pub(super) settings: Vec<RowSettings>,
    /// The rows that the models refuse, with the reason.
    pub(super) refused: Vec<(usize, Arc<Error>)>,
    /// The number of requests, including those that are refused.
    pub(super) requests: usize,
}

/// For each request, the reason why the models refuse its prompt, if they do.
pub(super) type Refused = Vec<Option<Arc<Error>>>;

impl Rows {
    /// The rows of an evaluator under the settings of `decoding` alone.
    ///
    /// # Errors
    /// The errors of [`StopRules::new`].
    pub(crate) fn of<B: Backend>(evaluator: &Evaluator<B>, decoding: &Decoding) -> Result<Self> {
        let plain = vec![Request::new([]); evaluator.rows()];
        Self::of_requests(evaluator, &plain, decoding)
    }

    /// The rows of an evaluator, each of which continues a sample of a request.
    ///
    /// # Errors
    /// * [`Error::Shape`] unless there is a sample for each row.
    /// * [`Error::InvalidParameter`] if a setting of a request is out of its range.
    /// * [`Error::StopIdOutOfRange`] or [`Error::StopIdCut`] if a stop id can never be generated.
    pub(crate) fn of_requests<B: Backend>(
        evaluator: &Evaluator<B>,
        requests: &[Request],
        decoding: &Decoding,
    ) -> Result<Self> {
        requests.iter().try_for_each(Request::validate)?;
        let samples: Vec<_> = requests.iter().map(|request| request.samples).collect();
        let total = samples.iter().fold(0usize, |total, samples| total.saturating_add(*samples));
        check::per_row("samples of the requests", evaluator.rows(), total)?;
        let rules = StopRules::new(evaluator, 0, decoding)?;
        let (width, mut rows) = (evaluator.width(0)?, Self::none(requests.len()));
        for ((index, request), of_request) in requests.iter().enumerate().zip(consecutive(samples)) {
            let stops = rules.of_request(request.stop_ids.as_ref(), &request.stop_sequences, width)?;
            rows.add(of_request, index, request, &stops, decoding);
        }
        Ok(rows)
    }

    /// The rows of the requests that were not refused, under `decoding`, for a root of an evaluator that has read the
    /// prompt of each of them in one row. Also returns for each row the row of the evaluator that has read its prompt.
    ///
    /// # Errors
    /// [`Error::StopIdOutOfRange`] or [`Error::StopIdCut`] if a stop id can never be generated.
    pub(super) fn of_accepted<B: Backend>(
        evaluator: &Evaluator<B>,
        root: usize,
        requests: &[Request],
        refused: &[Option<Arc<Error>>],
        decoding: &Decoding,
    ) -> Result<(Self, Vec<usize>)> {
        let rules = StopRules::new(evaluator, root, decoding)?;
        let width = evaluator.width(root)?;
        let mut rows = Self::none(requests.len());
        let (mut origins, mut prompts) = (Vec::new(), 0..evaluator.rows());
        for ((index, request), of_request) in requests.iter().enumerate().zip(rows_of(requests)) {
            if let Some(error) = &refused[index] {
                rows.refused.extend(of_request.map(|row| (row, error.clone())));
                continue;
            }
            let Some(origin) = prompts.next() else { break };
            let stops = rules.of_request(request.stop_ids.as_ref(), &request.stop_sequences, width)?;
            origins.extend(of_request.clone().map(|_| origin));
            rows.add(of_request, index, request, &stops, decoding);
        }
        Ok((rows, origins))
    }

    /// The prompt of each of the evaluator's rows.
    pub(crate) fn prompts(&self, requests: &[Request]) -> Vec<Prompt> {
        let of_rows: Vec<_> =
            requests.iter().flat_map(|r| std::iter::repeat_n(&r.prompt, r.samples)).collect();
        self.active.iter().filter_map(|row| of_rows.get(*row).map(|prompt| (*prompt).clone())).collect()
    }

    /// No rows yet, of a batch of `requests` requests.
    pub(super) fn none(requests: usize) -> Self {
        Self { active: Vec::new(), settings: Vec::new(), refused: Vec::new(), requests }
    }

    /// Adds the rows of a request, which is number `index` of its batch.
    pub(super) fn add(
        &mut self,
        rows: Range<usize>,
        index: usize,
        request: &Request,
        stops: &StopRules,
        decoding: &Decoding,
    ) {
        let sampling = Arc::new(request.row_sampling(decoding));
        for (sample, row) in rows.enumerate() {
            self.active.push(row);
            self.settings.push(RowSettings {
                start: RowStart {
                    id: RowId { request: request.id.unwrap_or(index as u64), sample: sample as u64 },
                    seed: request.seed.unwrap_or(sampling.sampling.seed),
                    sampling: sampling.clone(),
                },
                rivals: request.attribution.or(decoding.rivals),
                max_tokens: request.max_tokens.or(decoding.max_tokens),
                stops: stops.clone(),
                stop_strings: request.stop_strings.clone(),
                keep_stop: request.keep_stop,
            });
        }
    }
}

/// Opens `roots` on the prompts of `requests`. Each prompt is read once, and forked for its samples. Requests whose
/// prompts the models refuse become refused rows if at least one other request is accepted.
///
/// # Errors
/// * [`Error::InvalidParameter`] if a setting is out of its range.
/// * [`Error::StopIdOutOfRange`] or [`Error::StopIdCut`] if a stop id can never be generated.
/// * The error of [`Evaluator::open`] if no prompt can be opened, or if it is not the fault of a single prompt.
pub(crate) fn open<B: Backend>(
    roots: &[&Source<B>],
    requests: &[Request],
    decoding: &Decoding,
) -> Result<(Evaluator<B>, Rows)> {
    decoding.validate()?;
    requests.iter().try_for_each(Request::validate)?;
    let options = OpenOptions {
        parallel: decoding.parallel,
        every_term: decoding.rivals.is_some() || requests.iter().any(|r| r.attribution.is_some()),
        cached_tokens: decoding.cached_tokens,
    };
    let (mut evaluator, refused) = open_accepted(roots, requests, options)?;
    let (rows, origins) = Rows::of_accepted(&evaluator, 0, requests, &refused, decoding)?;
    if origins.len() > evaluator.rows() {
        evaluator.select(&origins)?;
    }
    Ok((evaluator, rows))
}

/// Opens the roots on every prompt that they accept. Returns for each request the error if its prompt is refused.
///
/// # Errors
/// The error of [`Evaluator::open`] if no prompt can be opened, or if it is not the fault of a single prompt.
pub(super) fn open_accepted<B: Backend>(
    roots: &[&Source<B>],
    requests: &[Request],
    options: OpenOptions,
) -> Result<(Evaluator<B>, Refused)> {
    let prompts: Vec<_> = requests.iter().map(|request| request.prompt.clone()).collect();
    let mut errors: Vec<Option<Error>> = requests.iter().map(|_| None).collect();
    let mut checked = false;
    loop {
        let open: Vec<_> = (0..prompts.len()).filter(|index| errors[*index].is_none()).collect();
        let accepted: Vec<_> = open.iter().map(|index| prompts[*index].clone()).collect();
        let error = match Evaluator::open_with(roots, &accepted, options) {
            Ok(evaluator) => return Ok((evaluator, refused(requests, errors))),
            Err(error) => error,
        };
        match error {
            // A model failed at one prompt; the others may be read.
            Error::RowFailed { row, source } if open.len() > 1 && row < open.len() => {
                errors[open[row]] = Some(*source);
            }
            Error::RowFailed { source, .. } => return Err(*source),
            error if checked => return Err(error),
            error => {
                // Find the prompts that are refused, by checking them one by one without running a model.
                checked = true;
                for index in &open {
                    let prompt = std::slice::from_ref(&prompts[*index]);
                    errors[*index] = Evaluator::check_prompts(roots, prompt, options).err();
                }
                let refused = open.iter().filter(|index| errors[**index].is_some()).count();
                if refused == 0 || refused == open.len() {
                    return Err(error);
                }
            }
        }
    }
}

/// The errors of requests, which name their rows among those of all requests.
fn refused(requests: &[Request], errors: Vec<Option<Error>>) -> Refused {
    let refused = errors.into_iter().zip(rows_of(requests));
    refused.map(|(error, rows)| error.map(|error| Arc::new(in_row(error, |_| rows.start)))).collect()
}

/// The rows of each request among those of all requests: one for each of its samples.
pub(super) fn rows_of(requests: &[Request]) -> Vec<Range<usize>> {
    consecutive(requests.iter().map(|request| request.samples))
}
