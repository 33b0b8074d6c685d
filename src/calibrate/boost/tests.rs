//! Trees against what they should find.

use super::*;

const GROWTH: Growth = Growth { trees: 60, depth: 3, rate: 0.2, ridge: 1.0, clip: 0.5 };

/// Rows on a grid of two features; further features are noise that says nothing.
fn grid(target: impl Fn(f32, f32) -> f64) -> (Vec<Features>, Vec<f64>) {
    let mut rows = Vec::new();
    for i in 0..40_u32 {
        for j in 0..40_u32 {
            let mut features = [0.0; FEATURES_MAX];
            (features[0], features[1]) = (i as f32, j as f32);
            features[2] = (i * 7919 + j * 104_729) as f32 % 101.0;
            rows.push((features, target(i as f32, j as f32)));
        }
    }
    rows.into_iter().unzip()
}

fn worst(trees: &Trees, rows: &(Vec<Features>, Vec<f64>)) -> f64 {
    let errors = rows.0.iter().zip(&rows.1).map(|(row, target)| (trees.value(row) - target).abs());
    errors.fold(0.0, f64::max)
}

#[test]
fn steps_are_found_where_they_are() {
    let rows =
        grid(|i, j| f64::from(u8::from(i > 12.0)) * 0.3 - f64::from(u8::from(j > 30.0)) * 0.2);
    let trees = grow(&rows.0, &rows.1, 3, &GROWTH);
    assert!(worst(&trees, &rows) < 0.005, "{}", worst(&trees, &rows));
}

#[test]
fn an_interaction_needs_depth() {
    let rows = grid(|i, j| if (i > 20.0) == (j > 20.0) { 0.2 } else { -0.2 });
    let deep = grow(&rows.0, &rows.1, 2, &GROWTH);
    let flat = grow(&rows.0, &rows.1, 2, &Growth { depth: 1, ..GROWTH });
    assert!(worst(&deep, &rows) < 0.01 && worst(&flat, &rows) > 0.15);
}

#[test]
fn one_wild_row_does_not_move_its_neighbours_far() {
    let mut rows = grid(|_, _| 0.0);
    rows.1[5] = 100.0;
    let trees = grow(&rows.0, &rows.1, 3, &GROWTH);
    let others = rows.0.iter().enumerate().filter(|(index, _)| *index != 5);
    let moved = others.map(|(_, row)| trees.value(row).abs()).fold(0.0, f64::max);
    // It pulls with 0.5 at each of 60 trees, on the rows of its leaf.
    assert!(moved < 2.0, "{moved}");
}

#[test]
fn nothing_to_learn_gives_no_trees() {
    let rows = grid(|_, _| 0.0);
    assert!(grow(&rows.0, &rows.1, 3, &GROWTH).is_empty());
    assert!(grow(&[], &[], 3, &GROWTH).is_empty());
}

#[test]
fn thresholds_are_short_and_between_their_neighbours() {
    assert_eq!(rounded(1.0, 2.0), 1.5);
    assert_eq!(rounded(0.13, 0.19), 0.16);
    assert_eq!(rounded(3.0, 3.000_000_2), 3.0);
}
