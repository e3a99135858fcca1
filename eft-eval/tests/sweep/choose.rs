//! The choice of a value on the validation items.
use eft_eval::stats::{Bootstrap, Clusters};
use eft_eval::sweep::{Part, choose};

fn part(means: &[f64]) -> Part {
    // Four items, of which the first ones are right.
    let right = |mean: &f64| (0..4).map(|item| f64::from(u8::from(f64::from(item) < 4.0 * mean))).collect();
    Part { scores: means.iter().map(right).collect(), clusters: Clusters::each(4) }
}

fn quick() -> Bootstrap {
    Bootstrap::default().resamples(20)
}

#[test]
fn the_validation_items_decide() {
    let choice =
        choose(&[0.0, 0.5, 1.0], &part(&[0.25, 0.75, 0.5]), &part(&[0.5, 0.25, 1.0]), &quick()).unwrap();
    assert_eq!((*choice.value(), choice.of_chosen().test.value), (0.5, 0.25));
    assert!(choice.to_string().lines().nth(2).is_some_and(|line| line.ends_with("← chosen")));
}

#[test]
fn the_smallest_of_equally_good_values_is_chosen() {
    let choice =
        choose(&[1.0, 0.5, 2.0, -1.0], &part(&[0.75, 0.75, 0.75, 0.5]), &part(&[0.5; 4]), &quick()).unwrap();
    assert_eq!(*choice.value(), 0.5);
}

#[test]
fn bad_input_is_refused() {
    let fails = |values: &[f64], validation: &Part, test: &Part| {
        choose(values, validation, test, &quick()).map_err(|error| error.to_string()).unwrap_err()
    };
    let fine = part(&[0.5]);
    assert_eq!(fails(&[], &fine, &fine), "values of a sweep: 0, but at least 1 are needed");
    assert_eq!(fails(&[1.0], &fine, &part(&[])), "lists of test scores: 0 instead of 1");
    assert_eq!(fails(&[f64::NAN], &fine, &fine), "value of a sweep, 0 is NaN, which is not a finite number");
    let mut bad = fine.clone();
    bad.scores[0][2] = f64::NAN;
    assert_eq!(fails(&[1.0], &bad, &fine), "score 2 is NaN, which is not a finite number");
}
