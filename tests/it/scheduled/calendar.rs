use std::time::Duration;

use paperround::newsletters::slots::{Outcome, SettledSlot};
use paperround::newsletters::{Cadence, Cadences};
use paperround::worker::scheduler::make_issues_due;

use super::{Scene, Setup, instant, scheduled_test};
use crate::support::Program;

const ADA: &str = "ada@example.org";
const BEN: &str = "ben@example.org";

/// Days on which two schedulers race.
const RACES: usize = 1000;

/// Two schedulers look at the same moment.
async fn race(scene: &Scene) {
    let looks = [0, 1].map(|_| {
        let app = scene.app.app.clone();
        tokio::spawn(async move { make_issues_due(&app).await })
    });
    for look in looks {
        look.await.unwrap().unwrap();
    }
}

scheduled_test!(
    check_07_two_schedulers_at_once_make_one_issue_of_each_slot,
    Setup::default(),
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        // an hour after the slot in summer, at it in winter
        scene.app.time.set(instant("2026-07-07T06:00:01Z"));
        for day in 1..=RACES {
            scene.publish([day % 1000]);
            scene.app.time.advance(Duration::from_hours(24));
            race(scene).await;
            assert_eq!(scene.issues().await.len(), day, "day {day}");
            scene.work().await;
        }
        let slots = scene.slots().await;
        assert!(slots.iter().all(|slot| slot.outcome == Outcome::Issue));
        assert_eq!(slots.len(), RACES);
        assert_eq!(scene.digests(ADA).len(), RACES);
    }
);

scheduled_test!(
    check_07_daily_and_weekly_due_at_one_instant_are_one_issue_and_one_mail_for_each_reader,
    Setup::default(),
    async |scene: &Scene| {
        // Mondays
        scene
            .schedule(Cadence::Weekly, "07:00", "Europe/Berlin")
            .await;
        scene.reader(ADA, Cadence::Daily).await;
        scene.reader(BEN, Cadence::Weekly).await;
        scene.publish([1]);
        scene.at("2026-07-12T05:00:00Z").await;
        assert_eq!(
            (scene.digests(ADA), scene.digests(BEN)),
            (vec![vec![1]], vec![])
        );
        scene.publish([1, 2]);
        scene.app.time.set(instant("2026-07-13T05:00:00Z"));
        race(scene).await;
        let both: Cadences = [Cadence::Daily, Cadence::Weekly].into_iter().collect();
        let issues = scene.issues().await;
        assert_eq!(issues.len(), 2);
        let monday = issues.iter().find(|issue| issue.due_at == scene.app.now());
        let monday = monday.expect("Monday has an issue");
        assert_eq!(monday.cadences.0, both);
        let slots = scene.slots().await;
        let of_it = |slot: &&SettledSlot| slot.issue_id == Some(monday.id);
        assert_eq!(slots.iter().filter(of_it).count(), 2, "{slots:?}");
        scene.work().await;
        assert_eq!(scene.digests(ADA), [[1], [2]]);
        assert_eq!(scene.digests(BEN), [[1, 2]]);
    }
);

scheduled_test!(
    check_10_nothing_new_mails_nothing_and_stands_there_visibly,
    Setup::default(),
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        scene.publish([1]);
        scene.at("2026-07-08T05:00:00Z").await;
        scene.at("2026-07-09T05:00:00Z").await;
        assert_eq!(scene.digests(ADA), [[1]]);
        assert_eq!(scene.issues().await.len(), 1);
        let slots = scene.slots().await;
        let latest = slots.last().unwrap();
        assert_eq!(latest.slot, "2026-07-09T07:00 Europe/Berlin");
        assert_eq!(
            (latest.outcome, latest.issue_id),
            (Outcome::NothingNew, None)
        );
        let list = Program::of(&scene.app).run(&["issue", "list"]).expect(0);
        let said = [list.out, list.err].concat();
        let line = said.lines().find(|line| line.contains("2026-07-09"));
        assert!(
            line.is_some_and(|line| line.contains("nothing new")),
            "{said}"
        );
    }
);

scheduled_test!(
    check_16_a_scheduler_that_comes_later_each_day_makes_one_issue_a_day,
    Setup::default(),
    async |scene: &Scene| {
        scene.reader(ADA, Cadence::Daily).await;
        let due = instant("2026-07-07T05:00:00Z");
        for day in 1..=20_u32 {
            let number = usize::try_from(day).unwrap();
            scene.publish(1..=number);
            let slot = due + Duration::from_hours(24) * day;
            // five minutes later than the day before, and again a little later
            for late in [day * 5, day * 5 + 1, 600] {
                scene.app.time.set(slot + Duration::from_mins(late.into()));
                scene.work().await;
                let digests = scene.digests(ADA);
                assert_eq!(digests.len(), number, "day {day}, {late} minutes late");
                assert_eq!(digests[number - 1], [number]);
            }
        }
        let slots = scene.slots().await;
        assert_eq!(slots.len(), 20);
        assert!(slots.iter().all(|slot| slot.outcome == Outcome::Issue));
    }
);

/// Works every half hour of the days around a change of the clocks; something is new each time.
async fn around_the_change(scene: &Scene, from: &str, days: usize, moments: &[&str]) {
    scene.reader(ADA, Cadence::Daily).await;
    let from = instant(from);
    for step in 0..days * 48 {
        scene.publish(1..=step + 1);
        let passed = Duration::from_mins(30 * u64::try_from(step).unwrap());
        scene.app.time.set(from + passed);
        scene.work().await;
    }
    let mut due: Vec<_> = scene
        .issues()
        .await
        .iter()
        .map(|issue| issue.due_at)
        .collect();
    due.sort_unstable();
    let expected: Vec<_> = moments.iter().map(|moment| instant(moment)).collect();
    assert_eq!(due, expected);
    let digests = scene.digests(ADA);
    assert_eq!(digests.len(), moments.len());
    let all = digests.concat();
    assert_eq!(
        all,
        (1..=all.len()).collect::<Vec<_>>(),
        "each once, in order"
    );
}

scheduled_test!(
    check_18_in_spring_an_hour_is_missing_and_its_slot_comes_at_the_first_valid_moment,
    Setup {
        begin: "2027-03-26T12:00:00Z",
        time: "02:30",
        ..Setup::default()
    },
    async |scene: &Scene| {
        let moments = [
            "2027-03-27T01:30:00Z",
            "2027-03-28T01:00:00Z",
            "2027-03-29T00:30:00Z",
        ];
        around_the_change(scene, "2027-03-26T12:30:00Z", 3, &moments).await;
    }
);

scheduled_test!(
    check_18_in_autumn_an_hour_comes_twice_and_its_slot_once,
    Setup {
        begin: "2026-10-23T12:00:00Z",
        time: "02:30",
        ..Setup::default()
    },
    async |scene: &Scene| {
        let moments = [
            "2026-10-24T00:30:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-26T01:30:00Z",
        ];
        around_the_change(scene, "2026-10-23T12:30:00Z", 3, &moments).await;
    }
);
