use uuid::Uuid;

use Cadence::{Daily, Monthly, Off, Weekly};

use super::*;

fn topic(name: &str) -> TopicId {
    TopicId(Uuid::from_u128(
        name.bytes()
            .fold(0, |sum, byte| sum * 256 + u128::from(byte)),
    ))
}

fn article(seq: i64, topics: &[&str]) -> Released {
    let id = ArticleId(Uuid::from_u128(u128::try_from(seq).unwrap()));
    Released {
        seq,
        id,
        topics: topics
            .iter()
            .map(|name| topic(name))
            .chain([topic("all")])
            .collect(),
    }
}

fn interest(name: &str, cadence: Cadence, start_seq: i64, given_seq: i64) -> Interest {
    Interest {
        topic_id: topic(name),
        start_seq,
        cadence,
        given_seq,
    }
}

fn numbers(due: &Due) -> Vec<u128> {
    due.articles.iter().map(|id| id.0.as_u128()).collect()
}

fn reach(cadences: &[Cadence], floor: i64, cutoff: i64) -> Reach {
    Reach {
        cadences: cadences.iter().copied().collect(),
        floor,
        cutoff,
    }
}

/// Computes, moves, and gives the numbers.
fn give(
    interests: &mut [Interest],
    released: &[Released],
    cutoff: i64,
    cadences: &[Cadence],
) -> Vec<u128> {
    give_above(interests, released, 0, cutoff, cadences)
}

/// The same at an issue that holds nothing up to `floor`.
fn give_above(
    interests: &mut [Interest],
    released: &[Released],
    floor: i64,
    cutoff: i64,
    cadences: &[Cadence],
) -> Vec<u128> {
    let due = due(interests, released, reach(cadences, floor, cutoff));
    for moved in &due.moves {
        let applied = interests.iter_mut().map(|interest| moved.apply(interest));
        assert_eq!(applied.filter(|applied| *applied).count(), 1);
    }
    numbers(&due)
}

#[test]
fn a_new_reader_gets_nothing_of_before() {
    let mut reader = [interest("all", Daily, 7, 7)];
    let released: Vec<_> = (1..=7).map(|seq| article(seq, &[])).collect();
    assert!(give(&mut reader, &released, 7, &[Daily]).is_empty());
    let released: Vec<_> = (1..=9).map(|seq| article(seq, &[])).collect();
    assert_eq!(give(&mut reader, &released, 9, &[Daily]), [8, 9]);
    assert!(give(&mut reader, &released, 9, &[Daily]).is_empty());
}

#[test]
fn an_article_of_two_topics_at_two_cadences_comes_once() {
    let mut reader = [
        interest("europe", Daily, 0, 0),
        interest("economy", Weekly, 0, 0),
    ];
    let released = [
        article(1, &["europe", "economy"]),
        article(2, &["economy"]),
        article(3, &["asia"]),
    ];
    assert_eq!(give(&mut reader, &released, 3, &[Daily]), [1]);
    assert_eq!(give(&mut reader, &released, 3, &[Weekly]), [2]);
}

#[test]
fn daily_and_weekly_due_together_are_one_mail() {
    let mut reader = [
        interest("europe", Daily, 0, 0),
        interest("economy", Weekly, 0, 0),
    ];
    let released = [article(1, &["europe", "economy"]), article(2, &["economy"])];
    assert_eq!(give(&mut reader, &released, 2, &[Daily, Weekly]), [1, 2]);
    assert!(give(&mut reader, &released, 2, &[Daily, Weekly]).is_empty());
}

#[test]
fn a_cadence_that_changes_and_changes_back_repeats_and_misses_nothing() {
    let mut reader = [interest("europe", Daily, 0, 0)];
    let released: Vec<_> = (1..=6).map(|seq| article(seq, &["europe"])).collect();
    assert_eq!(give(&mut reader, &released, 2, &[Daily]), [1, 2]);
    reader[0].cadence = Weekly;
    assert!(give(&mut reader, &released, 4, &[Daily]).is_empty());
    assert_eq!(give(&mut reader, &released, 5, &[Weekly]), [3, 4, 5]);
    reader[0].cadence = Daily;
    assert_eq!(give(&mut reader, &released, 6, &[Daily]), [6]);
}

#[test]
fn a_topic_turned_off_and_on_starts_with_the_next_article() {
    let released: Vec<_> = (1..=8).map(|seq| article(seq, &["europe"])).collect();
    let mut reader = vec![interest("europe", Daily, 0, 0)];
    assert_eq!(give(&mut reader, &released, 2, &[Daily]), [1, 2]);
    reader[0].cadence = Off;
    assert!(give(&mut reader, &released, 5, &[Daily]).is_empty());
    reader.push(interest("europe", Weekly, 6, 6));
    assert_eq!(give(&mut reader, &released, 8, &[Weekly]), [7, 8]);
    // What was given by the old row does not come by a new wish for everything.
    reader.push(interest("all", Monthly, 0, 0));
    assert_eq!(give(&mut reader, &released, 8, &[Monthly]), [3, 4, 5, 6]);
}

#[test]
fn an_article_released_late_comes_next_whatever_its_date() {
    let mut reader = [interest("all", Daily, 0, 0)];
    // What would have been 101 was held; 102 became number 1; released, the held one is number 2.
    assert_eq!(give(&mut reader, &[article(1, &[])], 1, &[Daily]), [1]);
    assert_eq!(
        give(
            &mut reader,
            &[article(1, &[]), article(2, &[])],
            2,
            &[Daily]
        ),
        [2]
    );
}

#[test]
fn what_was_not_sent_comes_again_unless_something_moved_since() {
    let released: Vec<_> = (1..=4).map(|seq| article(seq, &[])).collect();
    let mut reader = [interest("all", Daily, 0, 0)];
    let first = due(&reader, &released, reach(&[Daily], 0, 2));
    assert!(first.moves[0].apply(&mut reader[0]));
    assert!(!first.moves[0].apply(&mut reader[0]));
    assert!(first.moves[0].put_back(&mut reader[0]));
    assert_eq!(give(&mut reader, &released, 3, &[Daily]), [1, 2, 3]);
    assert!(!first.moves[0].put_back(&mut reader[0]));
    assert_eq!(reader[0].given_seq, 3);
}

#[test]
fn watermarks_move_where_nothing_matched() {
    let mut reader = [interest("asia", Daily, 0, 0)];
    let released = [article(1, &["europe"])];
    assert!(give(&mut reader, &released, 1, &[Daily]).is_empty());
    assert_eq!(reader[0].given_seq, 1);
}

#[test]
fn an_interest_below_the_floor_waits_for_the_next_issue() {
    let released: Vec<_> = (1..=4).map(|seq| article(seq, &["europe"])).collect();
    let mut reader = [
        interest("all", Daily, 0, 0),
        interest("europe", Daily, 0, 2),
    ];
    assert_eq!(
        give_above(&mut reader, &released[2..], 2, 3, &[Daily]),
        [3],
        "the other interest takes part"
    );
    assert_eq!((reader[0].given_seq, reader[1].given_seq), (0, 3));
    // what the other had is not repeated
    assert_eq!(give(&mut reader, &released, 4, &[Daily]), [4]);
    assert_eq!((reader[0].given_seq, reader[1].given_seq), (4, 4));
}

#[test]
fn an_interest_that_began_behind_an_issues_cutoff_is_left_where_it_is() {
    // its reader confirmed between the freezing and the preparing
    let released: Vec<_> = (1..=3).map(|seq| article(seq, &[])).collect();
    let mut reader = [interest("all", Daily, 3, 3)];
    assert!(give(&mut reader, &released[..2], 2, &[Daily]).is_empty());
    assert_eq!(reader[0].given_seq, 3);
}

#[test]
fn a_move_is_remembered_as_json() {
    let reader = [interest("all", Daily, 3, 5)];
    let due = due(&reader, &[], reach(&[Daily], 0, 9));
    let json = serde_json::to_string(&due.moves).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Move>>(&json).unwrap(), due.moves);
    assert!(json.contains(r#""given_from":5,"given_to":9"#), "{json}");
}
