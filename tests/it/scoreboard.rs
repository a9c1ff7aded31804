//! The scoreboard tells the truth.

use std::{collections::BTreeSet, process::Command};

use tests::scoreboard::{Passed, Scoreboard};

const ROWS: &str = "A1\nA2\nA3\nA4";

#[test]
fn every_capability_has_its_row() {
    assert_eq!(Scoreboard::read().unwrap().rows(), 169);
}

#[test]
fn every_named_test_exists() {
    let output = Command::new(std::env::current_exe().unwrap()).args(["--list", "--format=terse"]).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let tests: BTreeSet<_> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert!(tests.contains("scoreboard::every_named_test_exists"), "this list is not the tests: {list}");
    let scoreboard = Scoreboard::read().unwrap();
    let missing: Vec<_> = scoreboard.named_tests().filter(|(_, test)| !tests.contains(test)).collect();
    assert!(missing.is_empty(), "capabilities.toml names tests that do not exist: {missing:?}");
}

#[test]
fn a_row_is_proven_when_its_tests_passed_in_both_profiles() {
    let scoreboard = Scoreboard::parse(
        ROWS,
        r#"
        [A1]
        claim = "both"
        embedded = ["x::a"]
        full = ["x::a", "x::b"]
        [A2]
        claim = "one"
        embedded = ["x::a"]
        [A3]
        claim = "nowhere else"
        embedded = "not applicable: no server"
        full = ["x::b"]
        [A4]
        claim = "not all of it"
        missing = "the rest"
        embedded = ["x::a"]
        full = ["x::a"]
        "#,
    )
    .unwrap();
    let shown = |passed: Option<&Passed>| scoreboard.show(passed).to_string();
    assert_eq!(
        shown(None),
        "A1   proven         both\nA2   embedded only  one\nA3   proven         nowhere else\nA4   in part        not all of it\nproven 2 of 4"
    );
    let passed = Passed::from_libtest("test x::a ... ok\ntest x::b ... FAILED\n");
    assert_eq!(
        shown(Some(&passed)),
        "A1   embedded only  both\nA2   embedded only  one\nA3   not yet        nowhere else\nA4   in part        not all of it\nproven 0 of 4"
    );
    assert_eq!(scoreboard.unproven(&passed).collect::<Vec<_>>(), [("A1", "x::b"), ("A3", "x::b")]);
}

#[test]
fn claims_without_proof_are_refused() {
    let refusal = |capabilities| Scoreboard::parse(ROWS, capabilities).unwrap_err();
    assert_eq!(refusal("[A9]\nclaim = 'x'"), "A9: there is no such row");
    assert_eq!(refusal("[A1]\nclaim = ''"), "A1: the claim is empty");
    assert!(refusal("[A1]\nclaim = 'x'\nmissing = ' '").contains("what is missing"));
    assert!(refusal("[A1]\nclaim = 'x'\nembedded = []").contains("proves nothing"));
    assert!(refusal("[A1]\nclaim = 'x'\nembedded = 'later'").contains("not applicable: "));
    assert!(refusal("[A1]\nclaim = 'x'\nembeded = ['x']").contains("embeded"));
    let nowhere = "[A1]\nclaim = 'x'\nembedded = 'not applicable: a'\nfull = 'not applicable: b'";
    assert_eq!(refusal(nowhere), "A1: it has a meaning in at least one profile");
}

#[test]
fn reports_of_both_runners_say_the_same() {
    let junit = r#"<testsuite name="tests::it">
        <testcase name="x::a" classname="tests::it" timestamp="2026-01-01T00:00:00+00:00" time="0.01">
        </testcase>
        <testcase name="x::b" classname="tests::it" time="0.01"><failure type="test failure">&lt;testcase </failure></testcase>
        <testcase name="x::c" classname="tests::it" time="0.01"/>
    </testsuite>"#;
    let libtest = "running 3 tests\ntest x::a ... ok\ntest x::b ... FAILED\ntest x::c - should panic ... ok\n";
    assert_eq!(Passed::from_junit(junit), Passed::from_libtest(libtest));
    assert!(!Passed::from_junit(junit).is_empty());
}
