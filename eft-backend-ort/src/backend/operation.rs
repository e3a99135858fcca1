//! [`Operation`]: which graph an operation needs.
use eft_core::Filter;

/// Identifies a graph, together with the layout of its rows.
///
/// Values that change from call to call (weights, temperatures, token ids) are inputs of the graph and not part of this
/// key, so that few graphs are compiled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    /// Concatenates rows of several tensors, or copies those of one.
    Concat,
    Download,
    Linear(Vec<Weight>),
    LogSoftmax,
    LogNormalizers,
    PowerMean,
    Max,
    Min,
    Clamp,
    Filter(FilterSteps),
    Choose {
        outside: bool,
    },
    EditTokens,
    EditMask,
    Residual,
    Top,
    Draw,
    LogProbs,
}

/// A term's weight, as far as it is part of the graph. Weights other than ±1 are inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Weight {
    One,
    MinusOne,
    Positive,
    Negative,
}

impl Weight {
    pub(super) fn of(weight: f32) -> Self {
        match weight {
            1.0 => Self::One,
            -1.0 => Self::MinusOne,
            _ if weight < 0.0 => Self::Negative,
            _ => Self::Positive,
        }
    }

    /// Whether the weight itself is an input of the graph.
    pub(super) fn is_input(self) -> bool {
        matches!(self, Self::Positive | Self::Negative)
    }
}

/// The steps of a filter that its graph contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FilterSteps {
    pub(super) temperature: Temperature,
    pub(super) top_k: bool,
    pub(super) top_p: bool,
    pub(super) min_p: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Temperature {
    One,
    AboveOne,
    /// The quotients can overflow.
    BelowOne,
}

impl FilterSteps {
    /// The steps that can change a row of `width` scores.
    pub(super) fn of(filter: &Filter, width: usize) -> Self {
        let temperature = match filter.temperature {
            1.0 => Temperature::One,
            high if high > 1.0 => Temperature::AboveOne,
            _ => Temperature::BelowOne,
        };
        Self {
            temperature,
            top_k: filter.top_k.is_some_and(|k| k < width),
            top_p: filter.top_p.is_some_and(|p| p < 1.0),
            min_p: filter.min_p.is_some_and(|p| p > 0.0),
        }
    }

    pub(super) fn truncates(self) -> bool {
        self.top_k || self.top_p || self.min_p
    }
}
