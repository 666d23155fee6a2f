//! An async reader as a `Stream`: it yields copies of all fragments in order, and each error once. It ends when the link
//! is closed or its producer has died, and the reader can go on after that.
#![cfg(all(feature = "stream", target_os = "linux"))]

mod common;

use std::future::poll_fn;
use std::pin::Pin;

use common::executor::{KINDS, block_on, on_heap, tokio_on_this_thread};
use common::waiting::MTU;
use common::{assert_whole, die_by_panic, few, in_time, publish, publish_blocking};
use futures_core::{FusedStream, Stream};
use rust_tango::{FragmentStream, OwnedFragment, TangoError};

async fn next(stream: &mut FragmentStream) -> Option<Result<OwnedFragment, TangoError>> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// Fragments are kept while later ones come, more of them than the link holds.
#[test]
fn all_fragments_are_kept() {
    in_time(|| {
        let link = on_heap();
        let tx = link.producer().unwrap();
        let mut stream = link.consumer().unwrap().into_async().unwrap().into_stream();
        let reader = std::thread::spawn(move || {
            tokio_on_this_thread().block_on(async {
                let mut kept = Vec::new();
                while let Some(fragment) = next(&mut stream).await {
                    kept.push(fragment.unwrap());
                }
                assert!(stream.is_terminated() && next(&mut stream).await.is_none());
                kept
            })
        });
        let count = few(200);
        for _ in 0..count {
            publish_blocking(&tx, MTU);
        }
        drop(tx);
        let kept = reader.join().unwrap();
        assert!(kept.iter().map(|fragment| fragment.meta.seq).eq(1..=count));
        kept.iter().for_each(|fragment| assert_whole(&fragment.meta, &fragment.payload, MTU));
    });
}

#[test]
fn a_death_ends_it_and_the_reader_goes_on() {
    in_time(|| {
        for kind in KINDS {
            let link = on_heap();
            let tx = link.producer().unwrap();
            let mut stream = kind(&link).unwrap().into_async().unwrap().into_stream();
            publish(&tx, MTU).unwrap();
            die_by_panic(tx);
            block_on(async {
                assert_eq!(next(&mut stream).await.unwrap().unwrap().meta.seq, 1);
                assert_eq!(next(&mut stream).await, Some(Err(TangoError::ProducerGone)));
                assert!(next(&mut stream).await.is_none() && stream.is_terminated());
            });
            let tx = link.producer().unwrap();
            publish(&tx, MTU).unwrap();
            let mut stream = stream.into_inner().into_stream();
            block_on(async {
                let replaced = next(&mut stream).await.unwrap();
                assert_eq!(replaced, Err(TangoError::ProducerReplaced { first: 2 }));
                assert_eq!(next(&mut stream).await.unwrap().unwrap().meta.seq, 2);
                assert!(!stream.is_terminated());
            });
        }
    });
}

/// Errors after which there is more do not end it.
#[test]
fn losses_are_items() {
    let link = on_heap();
    let tx = link.producer().unwrap();
    let mut stream = link.observer().unwrap().into_async().unwrap().into_stream();
    for _ in 0..20 {
        publish(&tx, MTU).unwrap();
    }
    drop(tx);
    block_on(async {
        let Some(Err(TangoError::Overrun { lost, .. })) = next(&mut stream).await else { panic!("no loss") };
        let mut count = lost;
        while let Some(fragment) = next(&mut stream).await {
            fragment.unwrap();
            count += 1;
        }
        assert_eq!(count, 20);
    });
}
