//! The whole main job by one command.

use crate::support::Program;

#[test]
fn the_demo_walks_the_whole_main_job_and_every_step_holds() {
    let folder = tempfile::tempdir().unwrap();
    let run = Program::in_folder(folder.path())
        .run(&["demo", "--exit"])
        .expect(0);
    let steps: Vec<_> = run.out.lines().collect();
    assert!(
        steps.iter().all(|step| step.starts_with("ok    ")),
        "{run:?}"
    );
    for step in [
        "sign-up form",
        "signs up by the form",
        "confirms by link and button",
        "is welcomed by mail",
        "the site publishes",
        "the digest arrives at",
        "leaves by one click",
        "the next digest does not reach",
    ] {
        assert!(
            steps.iter().any(|line| line.contains(step)),
            "{step}: {run:?}"
        );
    }
    // a slow disk is worth a word, and is not the demo's
    let mut words = run.err.lines();
    let wrong = words.find(|line| !line.contains("A write took"));
    assert_eq!(wrong, None, "nothing went wrong on the way");
}
