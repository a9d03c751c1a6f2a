//! Every article, every reader, many issues: each once.

use super::*;
use crate::support::db_test;

const SENT: &str = "SELECT deliveries.subscription_id, variants.message
     FROM deliveries JOIN variants ON variants.id = deliveries.variant_id WHERE deliveries.state = 'sent'";

const CHANGE: &str =
    "UPDATE interests SET cadence = $2 WHERE subscription_id = $1 AND cadence = $3";

const PAUSE: &str = "UPDATE subscriptions SET paused_until = $2 WHERE id = $1";

/// Small whole numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// What happens to readers between two issues.
async fn disturb(app: &TestApp, dice: &mut Dice, readers: &[SubscriptionId]) {
    let cadences = [Cadence::Daily, Cadence::Weekly, Cadence::Monthly];
    for _ in 0..5 {
        let reader = readers[dice.below(readers.len())];
        let (from, to) = (cadences[dice.below(3)], cadences[dice.below(3)]);
        let until = app.now() + Duration::from_hours(24 * dice.below(5) as u64);
        app.db
            .write::<_, sqlx::Error, _>(move |tx| {
                Box::pin(async move {
                    write_db!(tx, |conn| {
                        sqlx::query(CHANGE)
                            .bind(reader)
                            .bind(to)
                            .bind(from)
                            .execute(&mut *conn)
                            .await?;
                        sqlx::query(PAUSE)
                            .bind(reader)
                            .bind(until)
                            .execute(&mut *conn)
                            .await?;
                    });
                    Ok(())
                })
            })
            .await
            .unwrap();
    }
}

db_test!(
    each_chosen_article_reaches_its_reader_exactly_once,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let mut topics = Vec::new();
        for slug in ["all", "asia", "europe"] {
            topics.push(topic(app, &newsletter, slug).await);
        }
        let seed = 20_260_707;
        let mut dice = Dice(seed);
        let mut readers = Vec::new();
        let mut wishes: Vec<Vec<usize>> = Vec::new();
        for n in 0..24 {
            // one or two topics, each at a cadence of its own
            let chosen: Vec<usize> = match dice.below(4) {
                0 => vec![0],
                1 => vec![1],
                2 => vec![2],
                _ => vec![1, 2],
            };
            let cadences = [Cadence::Daily, Cadence::Weekly, Cadence::Monthly];
            let interests: Vec<_> = chosen
                .iter()
                .map(|topic| (topics[*topic], cadences[dice.below(3)]))
                .collect();
            let email = format!("reader-{n}@example.org");
            readers.push(reader(app, &newsletter, &email, &interests, None).await);
            wishes.push(chosen);
        }

        let mut of_topic: Vec<Vec<usize>> = vec![Vec::new(); 3];
        let mut held: Vec<ArticleId> = Vec::new();
        let mut number = 0;
        let mut left_open = false;
        for _ in 0..20 {
            for _ in 0..dice.below(4) {
                number += 1;
                let mut slugs = Vec::new();
                for (index, slug) in [(1, "asia"), (2, "europe")] {
                    if dice.below(2) == 0 {
                        slugs.push(slug);
                        of_topic[index].push(number);
                    }
                }
                of_topic[0].push(number);
                let mut article = posted(number, &slugs);
                let is_held = dice.below(5) == 0;
                article.published_at = is_held.then(|| app.now() + Duration::from_hours(24 * 300));
                let ids = publish(app, &newsletter, vec![article]).await;
                held.extend(ids.into_iter().filter(|_| is_held));
            }
            if dice.below(3) == 0 {
                for id in held.drain(..) {
                    release::release_now(&app.db, newsletter.id, id, app.now())
                        .await
                        .unwrap();
                }
            }
            disturb(app, &mut dice, &readers).await;
            let cadences = match dice.below(4) {
                // an article of two topics must not be given up after the other topic's cadence moved on
                _ if left_open => vec![Cadence::Daily, Cadence::Weekly, Cadence::Monthly],
                0 => vec![Cadence::Daily, Cadence::Weekly, Cadence::Monthly],
                1 => vec![Cadence::Daily, Cadence::Weekly],
                2 => vec![Cadence::Weekly],
                _ => vec![Cadence::Daily],
            };
            app.time.advance(Duration::from_hours(24));
            let new = new_issue(&newsletter, &cadences, app.now());
            if let Created::Issue(id) = create(app, new).await.unwrap() {
                advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
                // some are sent; the rest stays pending, for a later issue to take over
                let some: uuid::Uuid = app.ids.next();
                left_open = dice.below(2) == 0;
                let share = if left_open { some } else { uuid::Uuid::max() };
                settle_below(app, id, share).await;
            }
        }

        // everybody is back, everything is released, and all cadences are due
        for id in held.drain(..) {
            release::release_now(&app.db, newsletter.id, id, app.now())
                .await
                .unwrap();
        }
        app.time.advance(Duration::from_hours(24 * 30));
        let last = [Cadence::Daily, Cadence::Weekly, Cadence::Monthly];
        if let Created::Issue(id) = create(app, new_issue(&newsletter, &last, app.now()))
            .await
            .unwrap()
        {
            advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
            assert!(matches!(
                issue(app, id).await.state,
                IssueState::Sending | IssueState::Skipped
            ));
        }
        let all = store::issues::of_newsletter(&app.db, newsletter.id, None, 99)
            .await
            .unwrap();
        for one in &all {
            settle_all(app, one.id).await;
        }

        let rows: Vec<(SubscriptionId, Vec<u8>)> =
            read_db!(&app.db, |conn| sqlx::query_as(SENT).fetch_all(conn).await).unwrap();
        for (reader, chosen) in readers.iter().zip(&wishes) {
            let mut got: Vec<usize> = rows
                .iter()
                .filter(|(subscription, _)| subscription == reader)
                .flat_map(|(_, message)| numbers(message))
                .collect();
            got.sort_unstable();
            let mut wanted: Vec<usize> = chosen
                .iter()
                .flat_map(|topic| of_topic[*topic].clone())
                .collect();
            wanted.sort_unstable();
            wanted.dedup();
            assert_eq!(got, wanted, "seed {seed}, topics {chosen:?}");
        }
        assert!(number > 20 && all.len() > 10 && rows.len() > 50);
    }
);
