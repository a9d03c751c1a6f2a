use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::newsletters::upcoming::upcoming;
use crate::newsletters::{Calendar, Missed};

fn instant(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

/// A schedule in UTC, settled up to the start of 2027.
fn schedule(id: u128, cadence: Cadence, days: &str, time: &str) -> Schedule {
    Schedule {
        id: ScheduleId(Uuid::from_u128(id)),
        newsletter_id: NewsletterId(Uuid::from_u128(1)),
        cadence,
        calendar: Calendar::new(
            days.parse().unwrap(),
            time.parse().unwrap(),
            "UTC".parse().unwrap(),
        ),
        mode: Mode::Automatic,
        min_articles: 1,
        max_cards: 12,
        min_interval: Duration::from_mins(30),
        missed: Missed::Latest,
        max_lateness: Duration::from_hours(12),
        enabled: true,
        handled_to: instant("2027-01-01T00:00:00Z"),
    }
}

fn planned(schedules: Vec<Schedule>, waiting: Waiting, now: &str) -> Plan {
    plan(
        schedules
            .into_iter()
            .map(|schedule| (schedule, waiting))
            .collect(),
        instant(now),
    )
}

fn cadences(due: &DueIssue) -> String {
    due.slots
        .iter()
        .map(|slot| slot.schedule.cadence)
        .collect::<Cadences>()
        .to_string()
}

#[test]
fn nothing_is_due_before_its_time() {
    let plan = planned(
        vec![schedule(1, Cadence::Daily, "all", "07:00")],
        Waiting::default(),
        "2027-01-01T06:59:59Z",
    );
    assert!(plan.due.is_empty() && plan.missed.is_empty());
}

#[test]
fn schedules_due_at_one_instant_make_one_issue() {
    // 4 January 2027 is a Monday.
    let mut weekly = schedule(2, Cadence::Weekly, "mon", "07:00");
    weekly.max_cards = 20;
    weekly.mode = Mode::Draft;
    let mut daily = schedule(1, Cadence::Daily, "all", "07:00");
    daily.handled_to = instant("2027-01-03T12:00:00Z");
    let daily_cards = daily.max_cards;
    let plan = planned(
        vec![daily, weekly],
        Waiting::default(),
        "2027-01-04T07:00:01Z",
    );
    assert_eq!(plan.due.len(), 1);
    assert_eq!(cadences(&plan.due[0]), "daily and weekly");
    assert_eq!(plan.due[0].slots[0].schedule.cadence, Cadence::Daily);
    for (weekly, expected) in [
        (Outcome::Issue, (20, Mode::Draft)),
        // who has no part in the issue has no say in it
        (Outcome::BelowMinimum, (daily_cards, Mode::Automatic)),
    ] {
        let weighed = Weighed {
            outcomes: vec![Outcome::Issue, weekly],
            cadences: Cadences::NONE,
        };
        let due = &plan.due[0];
        assert_eq!((due.max_cards(&weighed), due.mode(&weighed)), expected);
    }
}

#[test]
fn other_times_and_other_newsletters_make_issues_of_their_own() {
    let mut other = schedule(3, Cadence::Daily, "all", "07:00");
    other.newsletter_id = NewsletterId(Uuid::from_u128(2));
    let schedules = vec![
        schedule(1, Cadence::Daily, "all", "07:00"),
        schedule(2, Cadence::Weekly, "fri", "06:00"),
        other,
    ];
    let plan = planned(schedules, Waiting::default(), "2027-01-01T08:00:00Z");
    assert_eq!(plan.due.len(), 3);
    assert!(plan.due[0].at < plan.due[1].at, "oldest first");
}

#[test]
fn what_was_missed_is_told_apart() {
    let plan = planned(
        vec![schedule(1, Cadence::Daily, "all", "07:00")],
        Waiting::default(),
        "2027-01-04T08:00:00Z",
    );
    let missed: Vec<_> = plan.missed.iter().map(|slot| &slot.name[..10]).collect();
    assert_eq!(missed, ["2027-01-01", "2027-01-02", "2027-01-03"]);
    assert_eq!(plan.due[0].slots[0].name, "2027-01-04T07:00 UTC");
}

#[test]
fn an_immediate_schedule_waits_for_articles_and_for_its_interval() {
    let now = "2027-01-01T05:00:00Z";
    let due = |waiting| {
        planned(
            vec![schedule(1, Cadence::Immediate, "all", "07:00")],
            waiting,
            now,
        )
        .due
    };
    let waiting = Waiting {
        newest_seq: 9,
        articles: 2,
        is_settled: false,
        last_at: None,
    };
    assert!(
        due(Waiting {
            articles: 0,
            ..waiting
        })
        .is_empty()
    );
    assert_eq!(due(waiting)[0].slots[0].name, "seq:9");
    assert!(
        due(Waiting {
            last_at: Some(instant("2027-01-01T04:31:00Z")),
            ..waiting
        })
        .is_empty()
    );
    assert_eq!(
        due(Waiting {
            last_at: Some(instant("2027-01-01T04:30:00Z")),
            ..waiting
        })
        .len(),
        1
    );
}

#[test]
fn an_immediate_schedule_joins_what_is_due_anyway() {
    let waiting = Waiting {
        newest_seq: 9,
        articles: 2,
        is_settled: false,
        last_at: None,
    };
    let schedules = vec![
        schedule(1, Cadence::Immediate, "all", "00:00"),
        schedule(2, Cadence::Daily, "all", "07:00"),
    ];
    let plan = planned(schedules, waiting, "2027-01-01T07:00:03Z");
    assert_eq!(plan.due.len(), 1);
    assert_eq!(cadences(&plan.due[0]), "immediate and daily");

    let mut other = schedule(3, Cadence::Daily, "all", "07:00");
    other.newsletter_id = NewsletterId(Uuid::from_u128(2));
    let schedules = vec![schedule(1, Cadence::Immediate, "all", "00:00"), other];
    let plan = planned(schedules, waiting, "2027-01-01T07:00:03Z");
    let alone: Vec<_> = plan.due.iter().map(cadences).collect();
    assert_eq!(alone, ["daily", "immediate"], "of two newsletters");
}

#[test]
fn each_cadence_has_its_own_last_cutoff() {
    let both: Cadences = [Cadence::Daily, Cadence::Weekly].into_iter().collect();
    let cutoffs = [(Cadences::NONE.with(Cadence::Daily), 9), (both, 5)];
    assert_eq!(last_cutoff(&cutoffs, Cadence::Daily), 9);
    assert_eq!(last_cutoff(&cutoffs, Cadence::Weekly), 5);
    assert_eq!(last_cutoff(&cutoffs, Cadence::Monthly), 0);
}

#[test]
fn what_is_switched_off_is_not_among_what_comes_next() {
    let daily = schedule(1, Cadence::Daily, "all", "07:00");
    let mut weekly = schedule(2, Cadence::Weekly, "mon", "07:00");
    let after = instant("2027-01-03T12:00:00Z");
    for (enabled, expected) in [(true, "daily and weekly"), (false, "daily")] {
        weekly.enabled = enabled;
        let next = upcoming(&[daily.clone(), weekly.clone()], after, 1);
        assert_eq!(next[0].at, instant("2027-01-04T07:00:00Z"));
        assert_eq!(next[0].cadences.to_string(), expected);
    }
}

#[test]
fn an_immediate_schedule_waits_for_as_many_articles_as_it_wants() {
    let mut immediate = schedule(1, Cadence::Immediate, "all", "07:00");
    immediate.min_articles = 3;
    for (articles, expected) in [(2, 0), (3, 1)] {
        let waiting = Waiting {
            newest_seq: 9,
            articles,
            is_settled: false,
            last_at: None,
        };
        let plan = planned(vec![immediate.clone()], waiting, "2027-01-01T05:00:00Z");
        assert_eq!(plan.due.len(), expected, "{articles} articles");
    }
}

#[test]
fn nobody_says_when_an_immediate_schedule_comes_next() {
    let schedules = [
        schedule(1, Cadence::Immediate, "all", "06:00"),
        schedule(2, Cadence::Daily, "all", "07:00"),
    ];
    let next = upcoming(&schedules, instant("2027-01-01T00:00:00Z"), 2);
    let next: Vec<_> = next.iter().map(|it| it.cadences.to_string()).collect();
    assert_eq!(next, ["daily", "daily"]);
}

#[test]
fn an_immediate_schedule_joins_the_newest_of_what_is_due() {
    let mut daily = schedule(2, Cadence::Daily, "all", "07:00");
    daily.missed = Missed::All;
    daily.max_lateness = Duration::from_hours(72);
    let waiting = Waiting {
        newest_seq: 9,
        articles: 2,
        is_settled: false,
        last_at: None,
    };
    let schedules = vec![schedule(1, Cadence::Immediate, "all", "00:00"), daily];
    let plan = planned(schedules, waiting, "2027-01-02T07:00:03Z");
    let due: Vec<_> = plan.due.iter().map(cadences).collect();
    assert_eq!(due, ["daily", "immediate and daily"], "oldest first");
}

#[test]
fn what_comes_next_stands_in_the_zone_of_its_schedule() {
    let daily = schedule(1, Cadence::Daily, "all", "07:00");
    let mut weekly = schedule(2, Cadence::Weekly, "mon", "07:00");
    weekly.calendar = Calendar::new(
        "mon".parse().unwrap(),
        "07:00".parse().unwrap(),
        "Asia/Tokyo".parse().unwrap(),
    );
    // Monday begins earlier in Tokyo
    let found = upcoming(&[daily, weekly], instant("2027-01-03T12:00:00Z"), 3);
    let next: Vec<_> = found.iter().map(|it| (it.at, it.zone.name())).collect();
    let expected = [
        (instant("2027-01-03T22:00:00Z"), "Asia/Tokyo"),
        (instant("2027-01-04T07:00:00Z"), "UTC"),
        (instant("2027-01-05T07:00:00Z"), "UTC"),
    ];
    assert_eq!(next, expected);
}

#[test]
fn an_immediate_schedule_is_never_due_without_an_article() {
    let mut immediate = schedule(1, Cadence::Immediate, "all", "07:00");
    immediate.min_articles = 0;
    for (articles, expected) in [(0, 0), (1, 1)] {
        let waiting = Waiting {
            articles,
            ..Waiting::default()
        };
        let plan = planned(vec![immediate.clone()], waiting, "2027-01-01T05:00:00Z");
        assert_eq!(plan.due.len(), expected, "{articles} articles");
    }
}
