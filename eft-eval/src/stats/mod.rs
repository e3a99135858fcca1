//! Statistics of the scores of items: intervals, paired comparisons, the gap closed, and power laws.
//!
//! A score is a number for each item of a task, such as 1 for a right answer and 0 for a wrong one. Items that are not
//! independent, such as several questions about one text, form a cluster, and whole [`Clusters`] are resampled.
//!
//! All intervals are percentile bootstrap intervals, as `scipy.stats.bootstrap` computes them with
//! `method="percentile"`. They depend on the seed of the [`Bootstrap`] alone, so the same scores give the same interval
//! in every run.
//!
//! ```
//! use eft_eval::stats::{Bootstrap, Clusters, sign_test};
//!
//! // Right and wrong answers of two sources to the same eight questions, two about each person.
//! let up_scaled = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0];
//! let tuned = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
//! let people = Clusters::by(["Nora", "Nora", "Ada", "Ada", "Ben", "Ben", "Ida", "Ida"]);
//!
//! let bootstrap = Bootstrap::default();
//! let right = bootstrap.mean(&up_scaled, &people)?;
//! assert_eq!(right.value, 0.875);
//! let gain = bootstrap.difference(&up_scaled, &tuned, &people)?;
//! assert!(gain.value == 0.625 && gain.interval.low > 0.0);
//! assert_eq!(sign_test(&up_scaled, &tuned)?.wins, 5);
//! # Ok::<(), eft_eval::stats::StatsError>(())
//! ```
mod bootstrap;
mod checks;
mod clusters;
mod error;
mod gap;
mod mean;
mod power_law;
mod sign_test;

pub use bootstrap::{Bootstrap, Interval, Resampled};
pub use clusters::Clusters;
pub use error::StatsError;
pub use gap::GapClosed;
pub use mean::Estimate;
pub use power_law::PowerLaw;
pub use sign_test::{SignTest, sign_test};
