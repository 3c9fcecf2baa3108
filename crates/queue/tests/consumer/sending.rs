//! Batches of any size, with a word about each message.

use std::time::Duration;

use queue::{Counts, Outgoing};

use crate::stand::{SECOND, Stand, counted, outgoing};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn more_than_ten_are_sent_and_received_with_what_belongs_to_them() {
    let stand = Stand::fifo().await;
    stand.send((0..25).map(|number| (number, Some(7)))).await;
    assert_eq!(stand.queue.counts().await.unwrap().visible, 25);
    let received = stand
        .queue
        .receive(10, SECOND, Duration::ZERO)
        .await
        .unwrap();
    let bodies: Vec<_> = received
        .iter()
        .map(|message| message.body.as_str())
        .collect();
    assert_eq!(bodies, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    for message in &received {
        assert_eq!(message.receive_count, 1);
        assert_eq!(message.group.as_deref(), Some("7"));
        assert!(!message.message_id.is_empty());
    }
    let receipts = received.into_iter().map(|message| message.receipt);
    let refused = stand.queue.delete(receipts.collect()).await.unwrap();
    assert_eq!(refused, []);
    assert_eq!(stand.queue.counts().await.unwrap().visible, 15);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_message_that_is_refused_is_named_and_the_others_are_sent() {
    let stand = Stand::standard().await;
    let bad = Outgoing {
        body: "not allowed: \u{0}".to_owned(),
        ..outgoing("bad", None)
    };
    let sent = stand
        .queue
        .send(vec![outgoing("1", None), bad, outgoing("2", None)])
        .await
        .unwrap();
    let ok: Vec<_> = sent
        .iter()
        .map(|sent| (sent.id.as_str(), sent.result.is_ok()))
        .collect();
    assert_eq!(ok, [("1", true), ("bad", false), ("2", true)], "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_repetition_within_its_deduplication_id_is_one_message() {
    let stand = Stand::fifo().await;
    let message = outgoing("1", Some(1));
    let sent = stand.queue.send(vec![message.clone()]).await.unwrap();
    assert_eq!(sent[0].result, Ok(()));
    assert_eq!(
        stand.queue.send(vec![message]).await.unwrap()[0].result,
        Ok(())
    );
    assert_eq!(stand.queue.counts().await.unwrap().visible, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_receipt_whose_time_ran_out_is_named_and_its_message_stays() {
    let stand = Stand::fifo().await;
    stand.send([(1, Some(1)), (2, Some(2))]).await;
    // Longer than the second receive takes, also on a busy machine: it must take the other message.
    let late = stand.queue.receive(1, 4 * SECOND, Duration::ZERO).await;
    let good = stand.queue.receive(1, 60 * SECOND, Duration::ZERO).await;
    let [late, good] = [late, good].map(|received| received.unwrap().remove(0).receipt);
    tokio::time::sleep(9 * SECOND / 2).await;
    let refused = stand.queue.delete(vec![late.clone(), good]).await.unwrap();
    let receipts: Vec<_> = refused.iter().map(|refused| &refused.receipt).collect();
    assert_eq!(receipts, [&late], "{refused:?}");
    counted(&stand.queue, 3 * SECOND, |counts| counts.visible == 1).await;
    assert_eq!(stand.queue.counts().await.unwrap().in_flight, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the stores: make test"]
async fn a_purge_makes_a_queue_forget_messages_and_deduplication_ids() {
    let stand = Stand::fifo().await;
    let message = outgoing("1", Some(1));
    for _ in 0..2 {
        stand.queue.send(vec![message.clone()]).await.unwrap();
        let received = stand
            .queue
            .receive(1, SECOND, Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(received.len(), 1, "the repetition is a message of its own");
        stand.queue.purge().await.unwrap();
        assert_eq!(stand.queue.counts().await.unwrap(), Counts::default());
    }
}
