use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::bootstrap::{Bootstrap, Interval, Resampled};
use super::checks::{at_least, finite, no_overflow, per_item};
use super::clusters::{Clusters, mean_of};
use super::error::StatsError;

/// The fewest points of a fit whose exponent has an interval.
const FEWEST: usize = 3;

/// A power law `y = c · x^b`, fitted to points by least squares on the logarithms of both coordinates. It is a straight
/// line there: `log y = log c + b · log x`.
///
/// ```
/// use eft_eval::stats::PowerLaw;
///
/// let points = [(1.0, 3.0), (2.0, 6.1), (4.0, 0.0), (8.0, 23.9), (16.0, 48.2)];
/// let law = PowerLaw::fit(&points, 0.95)?;
/// assert!((law.exponent - 1.0).abs() < 0.01 && law.exponent_interval.high > 1.0);
/// assert_eq!(law.excluded, [2]); // 0 has no logarithm
/// # Ok::<(), eft_eval::stats::StatsError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PowerLaw {
    /// The exponent `b`.
    pub exponent: f64,
    /// The interval of the exponent by Student's t distribution, which assumes that the logarithms of `y` scatter
    /// normally about the line, all by the same amount.
    pub exponent_interval: Interval,
    /// The factor `c`: the value at `x = 1`.
    pub factor: f64,
    /// The share of the variance of `log y` that the line explains, R²; 0 if `log y` does not vary.
    pub r_squared: f64,
    /// The indices of the points that were excluded because their `y` is not above 0.
    pub excluded: Vec<usize>,
}

/// A straight line through points, by least squares.
struct Line {
    slope: f64,
    intercept: f64,
    /// The sum of the squared deviations of the `x` from their mean.
    spread: f64,
    /// The sum of the squared deviations of the `y` from their mean.
    total: f64,
    /// The sum of the squared deviations of the `y` from the line.
    residual: f64,
}

impl PowerLaw {
    /// Fits points `(x, y)`. Points whose `y` is not above 0 have no logarithm; they are excluded and
    /// [reported](Self::excluded). `level` is the share that the interval of the exponent covers, above 0 and below 1.
    /// The fit and the interval are those of `scipy.stats.linregress` on the logarithms.
    ///
    /// # Errors
    /// * [`StatsError::NotFinite`] if a coordinate is NaN or infinite.
    /// * [`StatsError::NotPositive`] if an `x` is not above 0.
    /// * [`StatsError::TooFew`] if fewer than three points, or points at fewer than two different `x`, are left.
    /// * [`StatsError::InvalidSetting`] if the level is out of its range.
    /// * [`StatsError::Overflow`] if the factor or the exponent is too large for a 64-bit number.
    pub fn fit(points: &[(f64, f64)], level: f64) -> Result<Self, StatsError> {
        Bootstrap::default().level(level).validate()?;
        let xs: Vec<_> = points.iter().map(|(x, _)| *x).collect();
        let ys: Vec<_> = points.iter().map(|(_, y)| *y).collect();
        check_xs(&xs)?;
        finite("y of point", &ys)?;
        let excluded: Vec<_> = (0..ys.len()).filter(|index| ys[*index] <= 0.0).collect();
        let logs = logs(points.iter().copied());
        at_least("points with y above 0", FEWEST, logs.len())?;
        let Some(line) = Line::through(&logs) else {
            return Err(StatsError::TooFew { what: "different x of points", needed: 2, got: 1 });
        };
        let freedom = (logs.len() - 2) as f64;
        let error = (line.residual / freedom / line.spread).sqrt();
        // A level that is so near to 1 that both tails vanish gives an infinite interval, which `no_overflow` reports.
        let quantile =
            StudentsT::new(0.0, 1.0, freedom).map_or(f64::NAN, |t| t.inverse_cdf(1.0 - (1.0 - level) / 2.0));
        let margin = no_overflow("interval of the exponent", quantile * error)?;
        let exponent = no_overflow("exponent", line.slope)?;
        Ok(Self {
            exponent,
            exponent_interval: Interval { low: exponent - margin, high: exponent + margin },
            factor: no_overflow("factor", line.intercept.exp())?,
            r_squared: if line.total > 0.0 { 1.0 - line.residual / line.total } else { 0.0 },
            excluded,
        })
    }

    /// Returns the value of the law at `x`.
    ///
    /// ```
    /// use eft_eval::stats::PowerLaw;
    ///
    /// let law = PowerLaw::fit(&[(1.0, 2.0), (2.0, 8.0), (3.0, 18.0)], 0.95)?;
    /// assert!((law.at(10.0) - 200.0).abs() < 1e-9);
    /// # Ok::<(), eft_eval::stats::StatsError>(())
    /// ```
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.factor * x.powf(self.exponent)
    }
}

impl Bootstrap {
    /// Returns the interval of the exponent of a [`PowerLaw`] over resampled points. A resample whose points have fewer
    /// than two different `x` has no exponent; it is counted as undefined.
    ///
    /// Where each `y` is a mean over items, [`exponent_over_items`](Self::exponent_over_items) says how certain the exponent
    /// is for these `x`; this function says how well a power law describes the points.
    ///
    /// ```
    /// use eft_eval::stats::{Bootstrap, PowerLaw};
    ///
    /// let points = [(1.0, 3.0), (2.0, 6.1), (4.0, 11.8), (8.0, 23.9), (16.0, 48.2)];
    /// let law = PowerLaw::fit(&points, 0.95)?;
    /// let interval = Bootstrap::default().exponent(&points)?.interval;
    /// assert!(interval.low < law.exponent && law.exponent < interval.high);
    /// # Ok::<(), eft_eval::stats::StatsError>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`PowerLaw::fit`], and [`StatsError::Undefined`] if no resample has an exponent.
    pub fn exponent(&self, points: &[(f64, f64)]) -> Result<Resampled, StatsError> {
        PowerLaw::fit(points, self.level)?;
        let logs = logs(points.iter().copied());
        let mut of_resample = Vec::new();
        self.interval("exponent", logs.len(), |drawn| {
            of_resample.clear();
            of_resample.extend(drawn.iter().map(|index| logs[*index]));
            Line::through(&of_resample).map(|line| line.slope)
        })
    }

    /// Returns the interval of the exponent of a [`PowerLaw`] through mean scores, over resampled items. Every entry of
    /// `curve` has an `x`, such as the number of examples that a model was tuned on, and the scores of the same items
    /// there. Points whose mean is not above 0 in a resample are left out of its fit; if fewer than two different `x`
    /// remain, the resample is counted as undefined.
    ///
    /// ```
    /// use eft_eval::stats::{Bootstrap, Clusters};
    ///
    /// let curve = [
    ///     (1.0, vec![0.1, 0.2, 0.1, 0.2]),
    ///     (4.0, vec![0.2, 0.4, 0.2, 0.3]),
    ///     (16.0, vec![0.5, 0.7, 0.4, 0.8]),
    /// ];
    /// let exponent = Bootstrap::default().exponent_over_items(&curve, &Clusters::each(4))?;
    /// assert!(exponent.interval.low > 0.3 && exponent.interval.high < 0.6);
    /// # Ok::<(), eft_eval::stats::StatsError>(())
    /// ```
    ///
    /// # Errors
    /// * The errors of [`PowerLaw::fit`] for the means over all items.
    /// * [`StatsError::Lengths`] unless each entry has a score for each item of the clusters.
    /// * [`StatsError::Undefined`] if no resample has an exponent.
    pub fn exponent_over_items<S: AsRef<[f64]>>(
        &self,
        curve: &[(f64, S)],
        clusters: &Clusters,
    ) -> Result<Resampled, StatsError> {
        at_least("items", 1, clusters.items())?;
        let mut totals = Vec::new();
        for (_, scores) in curve {
            per_item("scores at an x", clusters.items(), scores.as_ref().len())?;
            finite("score", scores.as_ref())?;
            totals.push(clusters.totals(scores.as_ref()));
        }
        let means = |clusters: &[usize]| {
            let points = curve.iter().zip(&totals);
            points.map(|((x, _), totals)| (*x, mean_of(totals, clusters))).collect::<Vec<_>>()
        };
        let all: Vec<_> = (0..clusters.len()).collect();
        PowerLaw::fit(&means(&all), self.level)?;
        self.interval("exponent", clusters.len(), |drawn| {
            Line::through(&logs(means(drawn))).map(|line| line.slope)
        })
    }
}

impl Line {
    /// The line with the least sum of squared deviations of the `y`; `None` if all `x` are the same.
    fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|p| p.0), mean(|p| p.1));
        let first = points.first()?.0;
        if points.iter().all(|(x, _)| *x == first) {
            return None;
        }
        let centred = || points.iter().map(|(x, y)| (x - mean_x, y - mean_y));
        let spread: f64 = centred().map(|(x, _)| x * x).sum();
        let slope = centred().map(|(x, y)| x * y).sum::<f64>() / spread;
        let total = centred().map(|(_, y)| y * y).sum();
        let residual = centred().map(|(x, y)| (y - slope * x).powi(2)).sum();
        Some(Self { slope, intercept: mean_y - slope * mean_x, spread, total, residual })
    }
}

/// The logarithms of the coordinates of the points whose `y` is above 0.
fn logs(points: impl IntoIterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    points.into_iter().filter(|(_, y)| *y > 0.0).map(|(x, y)| (x.ln(), y.ln())).collect()
}

fn check_xs(xs: &[f64]) -> Result<(), StatsError> {
    finite("x of point", xs)?;
    match xs.iter().position(|x| *x <= 0.0) {
        Some(index) => {
            let value = xs[index].to_string();
            Err(StatsError::NotPositive { what: "x of point", index, value })
        }
        None => Ok(()),
    }
}

impl fmt::Display for PowerLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        let Self { exponent, exponent_interval, factor, r_squared, excluded } = self;
        write!(f, "{factor:.digits$} · x^{exponent:.digits$} {exponent_interval:.digits$}, ")?;
        write!(f, "R² {r_squared:.digits$}")?;
        match excluded.len() {
            0 => Ok(()),
            count => write!(f, ", {count} excluded"),
        }
    }
}
