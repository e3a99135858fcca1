//! Bad input is refused with an error that says what is wrong, and never panics.
use eft_eval::stats::{Bootstrap, Clusters, Estimate, PowerLaw, StatsError, sign_test};
use proptest::prelude::*;

fn quick() -> Bootstrap {
    Bootstrap::default().resamples(50)
}

/// Any score: mostly ordinary, sometimes not a finite number or so large that sums overflow.
fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -3.0..3.0,
        3 => prop::sample::select(vec![0.0, 1.0]),
        1 => prop::sample::select(vec![
            f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0, 5e-324,
        ]),
    ]
}

fn scores() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(score(), 0..8)
}

fn clusters() -> impl Strategy<Value = Clusters> {
    prop::collection::vec(0..4_u8, 0..8).prop_map(Clusters::by)
}

/// Three lists of scores and the clusters of their items, of equal length in most cases.
fn lists() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, Vec<f64>, Clusters)> {
    let list = |length: usize| prop::collection::vec(score(), length);
    let keys = |length: usize| prop::collection::vec(0..4_u8, length).prop_map(Clusters::by);
    let equal = (0..8_usize).prop_flat_map(move |n| (list(n), list(n), list(n), keys(n)));
    prop_oneof![4 => equal, 1 => (scores(), scores(), scores(), clusters())]
}

/// Checks an estimate: finite, or refused for a reason that its input has.
fn check(
    result: Result<Estimate, StatsError>,
    lists: &[&[f64]],
    clusters: &Clusters,
) -> Result<(), TestCaseError> {
    let finite = lists.iter().all(|list| list.iter().all(|score| score.is_finite()));
    let lengths = lists.iter().all(|list| list.len() == clusters.items());
    match result {
        Ok(estimate) => {
            prop_assert!(finite && lengths && clusters.len() > 1);
            let interval = estimate.interval;
            prop_assert!(estimate.value.is_finite() && interval.low <= interval.high);
        }
        Err(StatsError::NotFinite { .. }) => prop_assert!(!finite),
        Err(StatsError::Lengths { .. }) => prop_assert!(!lengths),
        Err(StatsError::TooFew { .. }) => prop_assert!(clusters.len() < 2),
        Err(StatsError::Overflow { .. } | StatsError::Undefined { .. }) => {
            prop_assert!(lists.iter().any(|list| list.iter().any(|score| score.abs() > 1e300)));
        }
        Err(other) => return Err(TestCaseError::fail(other.to_string())),
    }
    Ok(())
}

proptest! {
    #[test]
    fn of_means_and_differences((a, b, c, clusters) in lists()) {
        check(quick().mean(&a, &clusters), &[&a], &clusters)?;
        check(quick().difference(&a, &b, &clusters), &[&a, &b], &clusters)?;
        let _ = quick().gap_closed(&a, &b, &c, &clusters).map(|closed| {
            assert!(closed.value.is_finite() && closed.undefined < 50);
        });
    }

    #[test]
    fn of_sign_tests((a, b, ..) in lists()) {
        match sign_test(&a, &b) {
            Ok(test) => {
                prop_assert_eq!(test.wins + test.losses + test.ties, a.len());
                prop_assert!((0.0..=1.0).contains(&test.p_value));
            }
            Err(error) => {
                let finite = a.iter().chain(&b).all(|score| score.is_finite());
                prop_assert!(!finite || a.len() != b.len(), "{}", error);
            }
        }
    }

    #[test]
    fn of_power_laws(points in prop::collection::vec((score(), score()), 0..8), level in score()) {
        let bootstrap = quick().level(level);
        if let Ok(law) = PowerLaw::fit(&points, level) {
            prop_assert!(law.exponent.is_finite() && law.factor.is_finite() && law.exponent_interval.low.is_finite());
            prop_assert!((-1e-9..=1.0 + 1e-9).contains(&law.r_squared), "{}", law);
            prop_assert!(points.len() - law.excluded.len() >= 3);
            prop_assert!(bootstrap.exponent(&points).is_ok_and(|e| e.interval.low <= e.interval.high));
        } else {
            prop_assert!(bootstrap.exponent(&points).is_err());
        }
    }

    #[test]
    fn of_curves(xs in prop::collection::vec(0.5..20.0, 0..5), (a, b, c, clusters) in lists()) {
        let curve: Vec<_> = xs.into_iter().zip([&a, &b, &c, &a]).collect();
        let _ = quick().exponent_over_items(&curve, &clusters).map(|exponent| {
            assert!(exponent.interval.low.is_finite() && exponent.undefined < 50);
        });
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let each = Clusters::each;
    let message = |error: StatsError| error.to_string();
    let mean =
        |scores: &[f64], clusters: &Clusters| quick().mean(scores, clusters).map_err(message).unwrap_err();
    assert_eq!(mean(&[], &each(0)), "items: 0, but at least 1 are needed");
    assert_eq!(mean(&[1.0], &each(1)), "clusters to resample: 1, but at least 2 are needed");
    assert_eq!(
        mean(&[1.0, 2.0], &Clusters::by(["a", "a"])),
        "clusters to resample: 1, but at least 2 are needed"
    );
    assert_eq!(mean(&[1.0, 2.0], &each(3)), "scores: 2 instead of 3");
    assert_eq!(mean(&[1.0, f64::INFINITY], &each(2)), "score 1 is inf, which is not a finite number");
    assert_eq!(mean(&[f64::MAX, f64::MAX], &each(2)), "the mean is too large for a 64-bit number");

    let gap = quick().gap_closed(&[0.5, 0.5], &[1.0, 0.0], &[0.0, 1.0], &each(2)).map_err(message);
    assert_eq!(
        gap.unwrap_err(),
        "the reference and the base have the same mean score, 0.5, so there is no gap to close"
    );

    let fit = |points: &[(f64, f64)], level| PowerLaw::fit(points, level).map_err(message).unwrap_err();
    assert_eq!(fit(&[], 0.95), "points with y above 0: 0, but at least 3 are needed");
    assert_eq!(fit(&[(1.0, 1.0); 3], 0.95), "different x of points: 1, but at least 2 are needed");
    assert_eq!(fit(&[(1.0, 1.0), (0.0, 1.0)], 0.95), "x of point 1 is 0, which is not above 0");
    assert_eq!(fit(&[(1.0, f64::NAN)], 0.95), "y of point 0 is NaN, which is not a finite number");
    assert_eq!(fit(&[(1.0, 1.0)], 1.0), "the level of an interval is 1: it must be above 0 and below 1");
    assert_eq!(
        message(quick().resamples(0).mean(&[0.0, 1.0], &each(2)).unwrap_err()),
        "the number of resamples is 0: it must be at least 1"
    );
}
