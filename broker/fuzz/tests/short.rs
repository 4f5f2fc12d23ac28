//! The short form of the fuzzer: the same cases in every run, and those that once failed.

use fuzz::{Target, allocation::Counting};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn check(target: Target, cases: u64) {
    for seed in 0..cases {
        if let Err(broken) = target.run(seed) {
            panic!("{} with seed {seed}: {broken}", target.name());
        }
    }
}

#[test]
fn frames_in_any_split_give_what_the_reference_gives() {
    check(Target::Codec, 4_000);
}

#[test]
fn commands_are_understood_as_another_parser_reads_them() {
    check(Target::Command, 4_000);
}

#[test]
fn nobody_gets_in_without_a_token_of_ours_and_an_origin_of_ours() {
    check(Target::Upgrade, 1_000);
}

#[test]
fn the_allocator_counts() {
    let ((), peak) = fuzz::allocation::peak_of(|| drop(std::hint::black_box(vec![0u8; 123_456])));
    assert!((123_456..200_000).contains(&peak), "{peak}");
}
