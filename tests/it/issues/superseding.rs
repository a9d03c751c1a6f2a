//! What an issue takes over from older ones, and what is put back while it is being prepared: nothing lost, nothing
//! twice.

use super::*;
use crate::support::db_test;
use paperround::deliveries::{State, operate};
use paperround::issues::prepare::PrepareError;

const CLAIMED: &str =
    "UPDATE deliveries SET state = 'claimed', owner = id WHERE subscription_id = $1";

/// A newsletter with one topic, `all`, and as many daily readers.
async fn world(app: &TestApp, count: usize) -> (Newsletter, Vec<SubscriptionId>) {
    let newsletter = newsletter(app, 12).await;
    let all = topic(app, &newsletter, "all").await;
    let mut readers = Vec::new();
    for n in 0..count {
        let email = format!("reader-{n}@example.org");
        readers.push(reader(app, &newsletter, &email, &[(all, Cadence::Daily)], None).await);
    }
    (newsletter, readers)
}

/// Takes everything as far as it goes.
async fn go_on(app: &TestApp) {
    advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
}

fn mails(
    readers: &[SubscriptionId],
    numbers: &[usize],
) -> Vec<(SubscriptionId, String, Vec<usize>)> {
    let mail = |reader: &SubscriptionId| (*reader, "pending".to_owned(), numbers.to_vec());
    readers.iter().map(mail).collect()
}

db_test!(
    cancelling_what_was_prepared_puts_its_articles_back,
    async |app: &TestApp| {
        let (newsletter, readers) = world(app, 2).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(given(app, readers[0]).await, [1]);
        let (id, now) = (first.id, app.now());
        let cancelled = app
            .db
            .write(move |tx| Box::pin(async move { operate::cancel(tx, id, "a fault", now).await }))
            .await;
        assert!(cancelled.unwrap());
        assert_eq!(operate::skip_cancelled(&app.db, now).await.unwrap(), 2);
        assert_eq!(given(app, readers[0]).await, [0]);
        let again = send(app, new_issue(&newsletter, DAILY, now)).await;
        assert_eq!(deliveries(app, again.id).await, mails(&readers, &[1]));
    }
);

db_test!(
    a_day_without_a_relay_loses_nothing_where_all_readers_are_daily,
    async |app: &TestApp| {
        let (newsletter, readers) = world(app, 3).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        // The relay is down: nothing of it is sent when the next issue is due.
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(
            deliveries(app, second.id).await,
            mails(&readers, &[2, 1]),
            "both articles, once"
        );
        for (_, state, _) in deliveries(app, first.id).await {
            assert_eq!(state, "skipped");
        }
        for reader in readers {
            assert_eq!(given(app, reader).await, [2]);
        }
    }
);

db_test!(
    a_mail_that_is_claimed_while_the_next_issue_takes_over_goes_out_alone,
    async |app: &TestApp| {
        let (newsletter, readers) = world(app, 1).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = frozen(app, &newsletter).await;
        let renderer = Arc::new(Renderer::of(app));
        let mut preparation = Preparation::new(app, &renderer, second, 10);
        let step = against(app, CLAIMED, readers[0], preparation.step()).await;
        assert!(matches!(step, Ok(Step::Chunk(_))), "{step:?}");
        assert_eq!(deliveries(app, first.id).await[0].1, "claimed");
        assert_eq!(deliveries(app, second).await, []);
        assert_eq!(given(app, readers[0]).await, [1], "the other comes later");
    }
);

db_test!(
    an_issue_waits_until_the_one_before_it_is_prepared,
    async |app: &TestApp| {
        let (newsletter, readers) = world(app, 2).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = frozen(app, &newsletter).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = frozen(app, &newsletter).await;
        assert_eq!(issue(app, second).await.state, IssueState::Scheduled);
        go_on(app).await;
        assert_eq!(deliveries(app, second).await, mails(&readers, &[2, 1]));
        for (_, state, _) in deliveries(app, first).await {
            assert_eq!(state, "skipped");
        }
    }
);

db_test!(
    an_issue_cancelled_while_the_next_is_prepared_loses_nothing,
    async |app: &TestApp| {
        let (newsletter, readers) = world(app, 3).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = frozen(app, &newsletter).await;
        let (id, now) = (first.id, app.now());
        let cancelled = app
            .db
            .write(move |tx| Box::pin(async move { operate::cancel(tx, id, "a fault", now).await }))
            .await;
        assert!(cancelled.unwrap());
        // One reader is prepared before what was cancelled is put back, the others after it.
        let renderer = Arc::new(Renderer::of(app));
        let mut preparation = Preparation::new(app, &renderer, second, 1);
        let step = preparation.step().await;
        assert!(matches!(step, Ok(Step::Chunk(_))), "{step:?}");
        operate::skip_cancelled(&app.db, now).await.unwrap();
        while preparation.step().await.unwrap() != Step::Prepared {}
        assert_eq!(deliveries(app, second).await, mails(&readers, &[2, 1]));
        for (_, state, _) in deliveries(app, first.id).await {
            assert_eq!(state, "skipped");
        }
    }
);

db_test!(
    a_reader_whose_pause_ends_while_an_issue_is_prepared_gets_all_of_it_with_the_next,
    async |app: &TestApp| {
        let (newsletter, readers) = world(app, 1).await;
        let all = topic(app, &newsletter, "all").await;
        let until = app.now() + Duration::from_hours(1);
        let daily = [(all, Cadence::Daily)];
        let late = reader(app, &newsletter, "late@example.org", &daily, Some(until)).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        settle_all(app, first.id).await;
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = frozen(app, &newsletter).await;
        app.time.advance(Duration::from_hours(2));
        go_on(app).await;
        // Article 1 is not in this issue: nothing of the late reader moves.
        assert_eq!(deliveries(app, second).await, mails(&readers, &[2]));
        assert_eq!(given(app, late).await, [0]);
        let second = issue(app, second).await;
        assert_eq!(
            (second.candidates, second.queued, second.excluded),
            (2, 1, 1)
        );
        settle_all(app, second.id).await;

        publish(app, &newsletter, vec![posted(3, &[])]).await;
        let third = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let expected = [mails(&readers, &[3]), mails(&[late], &[3, 2, 1])].concat();
        assert_eq!(deliveries(app, third.id).await, expected);
    }
);

const PAUSE: &str = "UPDATE subscriptions SET paused_until = $2 WHERE id = $1";

db_test!(
    a_reader_who_stands_between_two_articles_that_an_issue_lacks_gets_the_later_one_with_the_next,
    async |app: &TestApp| {
        let (newsletter, readers) = world(app, 2).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        settle_all(app, first.id).await;
        let (late, until) = (readers[1], app.now() + Duration::from_hours(1));
        app.db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(PAUSE)
                        .bind(late)
                        .bind(until)
                        .execute(conn)
                        .await
                        .map(drop))
                })
            })
            .await
            .unwrap();
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        settle_all(app, second.id).await;
        publish(app, &newsletter, vec![posted(3, &[])]).await;
        let third = frozen(app, &newsletter).await;
        app.time.advance(Duration::from_hours(2));
        go_on(app).await;
        assert_eq!(deliveries(app, third).await, mails(&readers[..1], &[3]));
        assert_eq!(given(app, late).await, [1]);
        settle_all(app, third).await;
        let fourth = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, fourth.id).await, mails(&[late], &[3, 2]));
    }
);

const DOUBT: &str = "UPDATE deliveries SET state = $2, is_open = $3, doubt = 1 WHERE issue_id = $1";

/// Every mail of the issue may have arrived, and stands so.
async fn doubt(app: &App, issue: IssueId, state: State) {
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(DOUBT)
                    .bind(issue)
                    .bind(state)
                    .bind(state.is_open())
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await
        .unwrap();
}

db_test!(
    a_reader_whose_older_mail_may_have_arrived_waits_for_its_end,
    async |app: &TestApp| {
        let (newsletter, readers) = world(app, 1).await;
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        // still in doubt, and waiting to be sent once more
        for (number, state) in [(2, State::InDoubt), (3, State::Pending)] {
            doubt(app, first.id, state).await;
            publish(app, &newsletter, vec![posted(number, &[])]).await;
            let new = new_issue(&newsletter, DAILY, app.now());
            let shown = preview(app, &Renderer::of(app), &new).await.unwrap();
            assert_eq!((shown.recipients, shown.waiting), (0, 1), "{state}");
            let next = send(app, new).await;
            assert!(deliveries(app, next.id).await.is_empty(), "{state}");
            assert_eq!(given(app, readers[0]).await, [1], "{state}");
        }
        settle_all(app, first.id).await;
        let next = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, next.id).await, mails(&readers, &[3, 2]));
    }
);

db_test!(
    a_mail_that_a_later_issue_serves_in_part_alone_is_not_taken_over,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = topic(app, &newsletter, "asia").await;
        let europe = topic(app, &newsletter, "europe").await;
        let both = [(asia, Cadence::Daily), (europe, Cadence::Weekly)];
        let ada = [reader(app, &newsletter, "ada@example.org", &both, None).await];
        publish(
            app,
            &newsletter,
            vec![posted(1, &["asia"]), posted(2, &["europe"])],
        )
        .await;
        let cadences = [Cadence::Daily, Cadence::Weekly];
        let both = send(app, new_issue(&newsletter, &cadences, app.now())).await;
        publish(app, &newsletter, vec![posted(3, &["asia"])]).await;
        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert!(deliveries(app, daily.id).await.is_empty());
        assert_eq!(deliveries(app, both.id).await, mails(&ada, &[2, 1]));
        settle_all(app, both.id).await;
        let next = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, next.id).await, mails(&ada, &[3]));
    }
);

const FORGET_VARIANT: &str = "UPDATE variants SET key = $2 WHERE issue_id = $1";
const NO_POSTAL_ADDRESS: &str = "UPDATE newsletters SET postal_address = NULL WHERE id = $1";
const POSTAL_ADDRESS: &str = "UPDATE newsletters SET postal_address = 'Main Street' WHERE id = $1";

/// An issue with the first article, which fails when the first of the readers is prepared.
async fn failed(app: &TestApp, newsletter: &Newsletter, readers: &[SubscriptionId]) -> IssueId {
    publish(app, newsletter, vec![posted(1, &[])]).await;
    let first = frozen(app, newsletter).await;
    let renderer = Arc::new(Renderer::of(app));
    let step = Preparation::new(app, &renderer, first, 1).step().await;
    assert!(matches!(step, Ok(Step::Chunk(_))), "{step:?}");
    assert_eq!(given(app, readers[0]).await, [1]);
    // the other reader's mail must be rendered, and cannot be without a postal address
    let id = newsletter.id;
    app.db
        .write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(FORGET_VARIANT)
                    .bind(first)
                    .bind(vec![1_u8])
                    .execute(conn)
                    .await
                    .map(drop))?;
                write_db!(tx, |conn| sqlx::query(NO_POSTAL_ADDRESS)
                    .bind(id)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        })
        .await
        .unwrap();
    go_on(app).await;
    assert_eq!(issue(app, first).await.state, IssueState::Failed);
    first
}

db_test!(
    what_an_issue_queued_before_it_failed_comes_with_the_next,
    async |app: &TestApp| {
        let (newsletter, readers) = world(app, 2).await;
        let first = failed(app, &newsletter, &readers).await;
        let id = newsletter.id;
        app.db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| sqlx::query(POSTAL_ADDRESS)
                        .bind(id)
                        .execute(conn)
                        .await
                        .map(drop))
                })
            })
            .await
            .unwrap();
        // nobody has put back yet what it had taken
        publish(app, &newsletter, vec![posted(2, &[])]).await;
        let second = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, second.id).await, mails(&readers, &[2, 1]));
        assert_eq!(deliveries(app, first).await[0].1, "skipped");
        let now = app.now();
        assert_eq!(operate::skip_cancelled(&app.db, now).await.unwrap(), 0);
        assert_eq!(given(app, readers[0]).await, [2]);
    }
);

db_test!(
    an_issue_that_fails_while_it_is_prepared_gives_back_what_it_had_taken,
    async |app: &TestApp| {
        let (newsletter, readers) = world(app, 2).await;
        let first = failed(app, &newsletter, &readers).await;
        assert_eq!(
            operate::skip_cancelled(&app.db, app.now()).await.unwrap(),
            1
        );
        assert_eq!(given(app, readers[0]).await, [0]);
        assert_eq!(deliveries(app, first).await[0].1, "skipped");
    }
);

const TAKE: &str =
    "UPDATE deliveries SET state = 'claimed' WHERE issue_id = $1 AND state = 'pending'";
const RELEASE: &str =
    "UPDATE deliveries SET state = 'pending' WHERE issue_id = $1 AND state = 'claimed'";

/// A worker that takes what waits of `issue`, and gives it back.
async fn take_and_release(app: &App, issue: IssueId) {
    for sql in [TAKE, RELEASE] {
        let changed = app.db.write::<_, sqlx::Error, _>(move |tx| {
            Box::pin(async move {
                write_db!(tx, |conn| sqlx::query(sql)
                    .bind(issue)
                    .execute(conn)
                    .await
                    .map(drop))
            })
        });
        changed.await.unwrap();
    }
}

/// Prepares to the end, a reader at a time; how many chunks.
async fn prepare_alone(app: Arc<App>, issue: IssueId) -> usize {
    let renderer = Arc::new(Renderer::of(&app));
    let mut preparation = Preparation::new(&app, &renderer, issue, 1);
    let mut chunks = 0;
    loop {
        match preparation.step().await {
            Ok(Step::Chunk(_)) => chunks += 1,
            Ok(Step::Elsewhere) | Err(PrepareError::Contended) => {}
            Ok(Step::Prepared | Step::Nothing) => return chunks,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Issues that two processes prepare at once.
const RACES: usize = 8;

db_test!(
    two_processes_that_prepare_one_issue_lose_and_double_nothing,
    async |app: &TestApp| {
        const READERS: usize = 12;
        let (newsletter, readers) = world(app, READERS).await;
        for race in 0..RACES {
            let numbers = [2 * race + 1, 2 * race + 2];
            publish(app, &newsletter, vec![posted(numbers[0], &[])]).await;
            let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
            publish(app, &newsletter, vec![posted(numbers[1], &[])]).await;
            let second = frozen(app, &newsletter).await;
            let processes = [0, 1].map(|_| tokio::spawn(prepare_alone(app.app.clone(), second)));
            while !processes.iter().all(tokio::task::JoinHandle::is_finished) {
                take_and_release(app, first.id).await;
            }
            let mut chunks = 0;
            for process in processes {
                chunks += process.await.unwrap();
            }
            assert_eq!(chunks, READERS, "each chunk once");
            // who waited for the end of the first mail gets the rest with the next issue
            for issue in [first.id, second] {
                settle_all(app, issue).await;
            }
            go_on(app).await;
            settle_all(app, second).await;
            let mut issues = vec![first.id, second];
            let next = create(app, new_issue(&newsletter, DAILY, app.now())).await;
            if let Created::Issue(third) = next.unwrap() {
                go_on(app).await;
                settle_all(app, third).await;
                issues.push(third);
            }
            let mut mails = Vec::new();
            for issue in issues {
                mails.extend(deliveries(app, issue).await);
            }
            for reader in &readers {
                let theirs = mails
                    .iter()
                    .filter(|(whose, state, _)| whose == reader && state != "skipped");
                let mut articles: Vec<_> =
                    theirs.flat_map(|(_, _, numbers)| numbers.clone()).collect();
                articles.sort_unstable();
                assert_eq!(articles, numbers, "race {race}: {mails:?}");
            }
        }
    }
);

db_test!(
    an_issue_takes_over_what_an_older_one_with_the_same_articles_has_not_sent,
    async |app: &TestApp| {
        let (newsletter, mut readers) = world(app, 1).await;
        let weekly = [(topic(app, &newsletter, "all").await, Cadence::Weekly)];
        readers.push(reader(app, &newsletter, "weekly@example.org", &weekly, None).await);
        publish(app, &newsletter, vec![posted(1, &[])]).await;
        let first = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let both = [Cadence::Daily, Cadence::Weekly];
        let second = send(app, new_issue(&newsletter, &both, app.now())).await;
        assert_eq!(deliveries(app, second.id).await, mails(&readers, &[1]));
        let older = deliveries(app, first.id).await;
        assert_eq!(older, [(readers[0], "skipped".to_owned(), vec![1])]);
    }
);
