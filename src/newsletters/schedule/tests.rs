use std::collections::BTreeSet;

use super::*;

fn calendar(days: &str, time: &str, zone: &str) -> Calendar {
    Calendar::new(
        days.parse().unwrap(),
        time.parse().unwrap(),
        zone.parse().unwrap(),
    )
}

fn instant(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().unwrap().into()
}

fn hours(count: u64) -> Duration {
    Duration::from_hours(count)
}

#[test]
fn a_slot_is_named_by_its_civil_time() {
    let slot = calendar("all", "07:00", "Europe/Berlin")
        .next_slot(instant("2027-03-27T12:00:00Z"))
        .unwrap();
    assert_eq!(slot.name, "2027-03-28T07:00 Europe/Berlin");
    assert_eq!(slot.at, instant("2027-03-28T05:00:00Z"));
}

#[test]
fn the_next_slot_is_strictly_later() {
    let daily = calendar("all", "07:00", "UTC");
    let at = instant("2027-01-01T07:00:00Z");
    assert_eq!(
        daily.next_slot(at).unwrap().at,
        instant("2027-01-02T07:00:00Z")
    );
    assert_eq!(
        daily.next_slot(at - Duration::from_micros(1)).unwrap().at,
        at
    );
}

#[test]
fn a_skipped_hour_is_due_at_the_first_moment_after_the_gap() {
    // Berlin: 02:00 becomes 03:00 on 28 March 2027, at 01:00 UTC.
    let slot = calendar("all", "02:30", "Europe/Berlin")
        .next_slot(instant("2027-03-27T12:00:00Z"))
        .unwrap();
    assert_eq!(slot.name, "2027-03-28T02:30 Europe/Berlin");
    assert_eq!(slot.at, instant("2027-03-28T01:00:00Z"));
    // Havana skips midnight itself.
    let slot = calendar("all", "00:15", "America/Havana")
        .next_slot(instant("2027-03-13T12:00:00Z"))
        .unwrap();
    assert_eq!(slot.at, instant("2027-03-14T05:00:00Z"));
    assert_eq!(
        slot.at
            .in_zone(TimeZone::get("America/Havana").unwrap())
            .hour(),
        1
    );
    // Lord Howe Island moves by half an hour.
    let slot = calendar("all", "02:10", "Australia/Lord_Howe")
        .next_slot(instant("2027-10-02T00:00:00Z"))
        .unwrap();
    assert_eq!(
        slot.at
            .in_zone(TimeZone::get("Australia/Lord_Howe").unwrap())
            .time(),
        Time::constant(2, 30, 0, 0)
    );
}

#[test]
fn a_repeated_hour_is_due_the_first_time_and_once() {
    // Berlin: 03:00 becomes 02:00 on 31 October 2027, at 01:00 UTC.
    let daily = calendar("all", "02:30", "Europe/Berlin");
    let slots = daily.slots_between(
        instant("2027-10-30T12:00:00Z"),
        instant("2027-10-31T12:00:00Z"),
    );
    assert_eq!(slots.len(), 1);
    assert_eq!(slots[0].at, instant("2027-10-31T00:30:00Z"));
    // A scheduler that looks between the two occurrences finds the next day.
    assert_eq!(
        daily
            .next_slot(instant("2027-10-31T00:45:00Z"))
            .unwrap()
            .name,
        "2027-11-01T02:30 Europe/Berlin"
    );
}

#[test]
fn a_day_that_a_zone_skipped_is_made_up_for_at_once() {
    let slots = calendar("all", "07:00", "Pacific/Apia").slots_between(
        instant("2011-12-29T20:00:00Z"),
        instant("2011-12-31T20:00:00Z"),
    );
    let names: Vec<_> = slots.iter().map(|slot| slot.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "2011-12-30T07:00 Pacific/Apia",
            "2011-12-31T07:00 Pacific/Apia",
            "2012-01-01T07:00 Pacific/Apia"
        ]
    );
    assert_eq!(slots[0].at, instant("2011-12-30T10:00:00Z"));
}

#[test]
fn each_zone_gives_each_civil_slot_once_for_twenty_years() {
    let (from, until) = (
        instant("2020-01-01T00:00:00Z"),
        instant("2040-01-01T00:00:00Z"),
    );
    let zones: Vec<String> = jiff::tz::db()
        .available()
        .map(|name| name.to_string())
        .collect();
    assert!(zones.len() > 400, "the bundled database is there");
    let distinct: BTreeSet<_> = zones
        .iter()
        .filter(|name| name.parse::<Zone>().is_ok())
        .collect();
    assert!(distinct.len() > 400);
    // Times around midnight and the usual hours of clock changes.
    let times = [
        "00:00", "00:30", "01:30", "02:00", "02:30", "03:15", "07:00", "23:45",
    ];
    for (index, zone) in distinct.into_iter().enumerate() {
        let time = times[index % times.len()];
        let slots = calendar("all", time, zone).slots_between(from, until);
        let names: BTreeSet<_> = slots.iter().map(|slot| &slot.name).collect();
        assert_eq!(
            names.len(),
            slots.len(),
            "{zone} {time}: a name occurs twice"
        );
        assert!(
            (7304..=7307).contains(&slots.len()),
            "{zone} {time}: {} slots in 7305 days",
            slots.len()
        );
        for pair in slots.windows(2) {
            let gap = pair[1].at.since(pair[0].at);
            // 23 to 25 hours but for half-hour changes; never zero, never two days.
            assert!(
                gap >= hours(20) && gap <= hours(28),
                "{zone} {time}: {} then {}",
                pair[0].name,
                pair[1].name
            );
        }
    }
}

#[test]
fn ticking_gives_the_same_slots_as_looking_back() {
    for zone in [
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Asia/Kathmandu",
        "UTC",
    ] {
        let daily = calendar("all", "02:30", zone);
        let (from, until) = (
            instant("2026-01-01T00:00:00Z"),
            instant("2028-01-01T00:00:00Z"),
        );
        let mut ticked = Vec::new();
        let mut handled = from;
        let mut now = from;
        while now < until {
            now = now + hours(7);
            ticked.extend(daily.slots_between(handled, now));
            handled = now;
        }
        assert_eq!(ticked, daily.slots_between(from, now), "{zone}");
    }
}

#[test]
fn a_scheduler_five_minutes_late_each_day_still_makes_one_issue_a_day() {
    let daily = calendar("all", "07:00", "America/New_York");
    let mut handled = instant("2026-12-31T23:00:00Z");
    let mut days = Vec::new();
    for day in 0..365_u64 {
        let now = instant("2027-01-01T12:00:00Z")
            + hours(24) * u32::try_from(day).unwrap()
            + Duration::from_mins(5) * u32::try_from(day % 50).unwrap();
        let chosen = choose_due(
            daily.slots_between(handled, now),
            Missed::Latest,
            hours(12),
            now,
        );
        handled = now;
        days.extend(chosen);
    }
    assert!(days.iter().all(|(_, due)| *due));
    let names: BTreeSet<_> = days.iter().map(|(slot, _)| &slot.name).collect();
    assert_eq!(names.len(), days.len());
    assert!((364..=366).contains(&days.len()), "{}", days.len());
}

#[test]
fn missed_slots_follow_their_rule() {
    let daily = calendar("all", "07:00", "UTC");
    let (down, back) = (
        instant("2027-01-01T08:00:00Z"),
        instant("2027-01-04T09:00:00Z"),
    );
    let chosen = |missed, max_lateness| {
        let due = choose_due(daily.slots_between(down, back), missed, max_lateness, back);
        due.into_iter()
            .map(|(slot, due)| (slot.name[8..10].to_owned(), due))
            .collect::<Vec<_>>()
    };
    let all = |a, b, c| {
        vec![
            ("02".to_owned(), a),
            ("03".to_owned(), b),
            ("04".to_owned(), c),
        ]
    };
    assert_eq!(chosen(Missed::Latest, hours(12)), all(false, false, true));
    assert_eq!(chosen(Missed::All, hours(72)), all(true, true, true));
    assert_eq!(chosen(Missed::All, hours(12)), all(false, false, true));
    assert_eq!(chosen(Missed::None, hours(12)), all(false, false, false));
    assert_eq!(chosen(Missed::Latest, hours(1)), all(false, false, false));
}

#[test]
fn a_slot_on_time_makes_an_issue_where_missed_ones_make_none() {
    let daily = calendar("all", "07:00", "UTC");
    let at = instant("2027-01-01T07:00:00Z");
    let quarter = Duration::from_mins(15);
    for (late, expected) in [
        (Duration::ZERO, true),
        (quarter, true),
        (quarter + Duration::from_micros(1), false),
    ] {
        let slots = daily.slots_between(at - hours(1), at + late);
        let chosen = choose_due(slots, Missed::None, hours(12), at + late);
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].1, expected, "{late:?} late");
    }
}

#[test]
fn weekly_and_monthly_slots_fall_on_their_days() {
    let names = |days: &str| {
        calendar(days, "07:00", "UTC")
            .slots_between(
                instant("2027-01-31T00:00:00Z"),
                instant("2027-04-01T00:00:00Z"),
            )
            .into_iter()
            .map(|slot| slot.name[5..10].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("31"), ["01-31", "02-28", "03-31"]);
    assert_eq!(
        names("1,last"),
        ["01-31", "02-01", "02-28", "03-01", "03-31"]
    );
    assert_eq!(names("mon").len(), 9);
}

#[test]
fn wrong_times_and_zones_are_refused() {
    for text in ["7:00", "24:00", "07:60", "0700", "07:00:00", "", "+7:00"] {
        assert!(text.parse::<LocalTime>().is_err(), "{text:?}");
    }
    for text in [
        "",
        "Berlin",
        "+02:00",
        "CEST",
        "Europe/Atlantis",
        "../etc/passwd",
    ] {
        assert!(text.parse::<Zone>().is_err(), "{text:?}");
    }
    assert_eq!(
        "europe/berlin".parse::<Zone>().unwrap().name(),
        "Europe/Berlin"
    );
}

#[test]
fn a_slot_may_be_as_late_as_the_most_that_is_allowed() {
    let daily = calendar("all", "07:00", "UTC");
    let at = instant("2027-01-01T07:00:00Z");
    for (late, expected) in [
        (hours(12), true),
        (hours(12) + Duration::from_micros(1), false),
    ] {
        let slots = daily.slots_between(at - hours(1), at + late);
        let chosen = choose_due(slots, Missed::Latest, hours(12), at + late);
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].1, expected, "{late:?} late");
    }
}
