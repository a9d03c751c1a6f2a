//! Two newsletters, two issues, two topics: each its own.

use paperround::issues::reference;

use super::*;
use crate::support::db_test;

const WEEKLY: &[Cadence] = &[Cadence::Weekly];

/// Two newsletters, each with a daily reader of everything.
async fn two_newsletters(app: &TestApp) -> [Newsletter; 2] {
    let newsletters = [app.newsletter("asia").await, newsletter(app, 12).await];
    for newsletter in &newsletters {
        let daily = [(topic(app, newsletter, "all").await, Cadence::Daily)];
        let email = format!("ada@{}.example", newsletter.slug);
        reader(app, newsletter, &email, &daily, None).await;
    }
    newsletters
}

db_test!(
    a_draft_that_is_released_lets_no_draft_of_another_newsletter_go,
    async |app: &TestApp| {
        let mut drafts = Vec::new();
        for newsletter in two_newsletters(app).await {
            publish(app, &newsletter, vec![posted(1, &[])]).await;
            let mut new = new_issue(&newsletter, DAILY, app.now());
            new.release_when_prepared = false;
            let draft = send(app, new).await;
            assert!(draft.prepared_at.is_some());
            drafts.push(draft.id);
        }
        let allowed = paperround::issues::release::allow(app, drafts[0]).await;
        assert!(allowed.unwrap());
        advance(app, &Arc::new(Renderer::of(app))).await.unwrap();
        let mut states = Vec::new();
        for id in drafts {
            let draft = issue(app, id).await;
            states.push((draft.state, draft.release_when_prepared));
        }
        let (goes, waits) = (IssueState::Sending, IssueState::Preparing);
        assert_eq!(states, [(goes, true), (waits, false)]);
    }
);

db_test!(
    an_issue_is_listed_and_found_by_its_number_among_those_of_its_newsletter,
    async |app: &TestApp| {
        let newsletters = two_newsletters(app).await;
        let mut made = Vec::new();
        for newsletter in &newsletters {
            let mut ids = Vec::new();
            for number in [1, 2] {
                publish(app, newsletter, vec![posted(number, &[])]).await;
                let sent = send(app, new_issue(newsletter, DAILY, app.now())).await;
                settle_all(app, sent.id).await;
                ids.push(sent.id);
            }
            made.push(ids);
        }
        for (newsletter, ids) in newsletters.iter().zip(made) {
            let listed = store::issues::of_newsletter(&app.db, newsletter.id, None, 9).await;
            let listed: Vec<IssueId> = listed.unwrap().iter().map(|it| it.id).collect();
            assert_eq!(listed, [ids[1], ids[0]]);
            for (number, id) in (1..).zip(ids) {
                let found = reference::by_number(&app.db, newsletter.id, number).await;
                assert_eq!(found.unwrap().map(|it| it.id), Some(id));
            }
        }
    }
);

db_test!(
    each_issue_has_the_subject_of_its_own_mails,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let europe = topic(app, &newsletter, "europe").await;
        let asia = topic(app, &newsletter, "asia").await;
        // more readers get the first issue than the second
        for (name, about) in [("ada", europe), ("ben", europe), ("eve", asia)] {
            let email = format!("{name}@example.org");
            reader(app, &newsletter, &email, &[(about, Cadence::Daily)], None).await;
        }
        for (number, slug, readers) in [(1, "europe", 2), (2, "asia", 1)] {
            publish(app, &newsletter, vec![posted(number, &[slug])]).await;
            let sent = send(app, new_issue(&newsletter, DAILY, app.now())).await;
            settle_all(app, sent.id).await;
            assert_eq!(sent.queued, readers);
            assert_eq!(sent.subject, Some(format!("Article {number}")));
        }
    }
);

db_test!(
    of_two_topics_that_stand_at_the_same_article_only_the_one_whose_mail_was_not_sent_goes_back,
    async |app: &TestApp| {
        let newsletter = newsletter(app, 12).await;
        let asia = topic(app, &newsletter, "asia").await;
        let europe = topic(app, &newsletter, "europe").await;
        let both = [(asia, Cadence::Daily), (europe, Cadence::Weekly)];
        let ada = reader(app, &newsletter, "ada@example.org", &both, None).await;
        let mail = |numbers: &[usize]| (ada, "pending".to_owned(), numbers.to_vec());
        let articles = vec![posted(1, &["asia"]), posted(2, &["europe"])];
        publish(app, &newsletter, articles).await;
        let weekly = send(app, new_issue(&newsletter, WEEKLY, app.now())).await;
        assert_eq!(deliveries(app, weekly.id).await, [mail(&[2])]);
        settle_all(app, weekly.id).await;
        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        assert_eq!(deliveries(app, daily.id).await, [mail(&[1])]);
        assert_eq!(given(app, ada).await, [2, 2]);

        publish(app, &newsletter, vec![posted(3, &["asia"])]).await;
        let daily = send(app, new_issue(&newsletter, DAILY, app.now())).await;
        let mut given = given(app, ada).await;
        given.sort_unstable();
        assert_eq!(given, [2, 3]);
        // and nothing of Europe comes again
        let mails = deliveries(app, daily.id).await;
        let mut numbers = mails[0].2.clone();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 3]);
    }
);
