//! What each bad input is answered: the catalogue of bad inputs, case by case. A test carries the number of its case.

mod command;
mod framing;
mod json;
mod queries;
mod state;
mod values;

/// How many cases the catalogue has.
const CASES: usize = 68;

/// How much of the catalogue is covered.
#[test]
fn coverage() {
    let sources = [
        include_str!("bad_input/command.rs"),
        include_str!("bad_input/framing.rs"),
        include_str!("bad_input/json.rs"),
        include_str!("bad_input/queries.rs"),
        include_str!("bad_input/state.rs"),
        include_str!("bad_input/values.rs"),
    ];
    let words = sources.iter().flat_map(|source| source.split_whitespace());
    let numbers = words.filter_map(|word| word.strip_prefix("case_")?.get(..2)?.parse::<usize>().ok());
    let covered = numbers.collect::<std::collections::BTreeSet<_>>();
    assert!(covered.iter().all(|case| (1..=CASES).contains(case)), "{covered:?}");
    let missing = (1..=CASES).filter(|case| !covered.contains(case)).collect::<Vec<_>>();
    println!("{} of {CASES} cases of bad input are covered; not: {missing:?}", covered.len());
    assert!(covered.len() >= 61, "a case was lost: {covered:?}");
}
