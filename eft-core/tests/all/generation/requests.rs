//! Requests: the settings of single rows of a batch, and the independence of each row from the other rows.
use std::sync::{Arc, Mutex};

use eft_core::decode::Request;
use eft_core::sample::RowId;
use eft_core::{Edit, Error, Result};

use super::*;

fn sampled() -> Decoding {
    Decoding::from(Sampling::default().seed(5)).stop_ids([]).max_tokens(6)
}

/// The token ids of each row, in the order of the rows. Fails if a row fails.
fn texts<R: Into<Request>>(
    source: &Source<Host>,
    requests: impl IntoIterator<Item = R>,
) -> Vec<Vec<TokenId>> {
    let batch = source.generate_batch(requests, sampled()).unwrap();
    let mut texts = vec![Vec::new(); batch.rows()];
    for event in batch {
        match event.unwrap() {
            Event::Token { row, token } => texts[row].push(token.id),
            Event::Finished { .. } => {}
            Event::Failed { error, .. } => panic!("{error}"),
        }
    }
    texts
}

#[test]
fn a_text_depends_on_its_id_and_seed_and_not_on_its_place_in_the_batch() {
    let source = model("m", 1);
    let request = |prompt: TokenId, id| Request::new([prompt]).id(id);
    let all = texts(&source, [request(1, 10), request(2, 20), request(3, 30)]);
    let others = texts(&source, [request(3, 30), request(1, 10)]);
    assert_eq!(others, [all[2].clone(), all[0].clone()]);
    // By default the id is the index.
    assert_eq!(texts(&source, [[1], [1]]), texts(&source, [request(1, 0), request(1, 1)]));
    // Equal prompts of different ids or seeds have different texts.
    let differing = texts(&source, [request(1, 0), request(1, 1), request(1, 0).seed(6), request(1, 0)]);
    assert!(differing[1] != differing[0] && differing[2] != differing[0]);
    assert_eq!(differing[3], differing[0]);
    let reseeded = source.generate([1], sampled().sampling(Sampling::default().seed(6))).unwrap();
    assert_eq!(reseeded.map(|t| t.unwrap().id).collect::<Vec<_>>(), differing[2]);
}

#[test]
fn speculation_keeps_to_requests_too() {
    let (source, draft) = (model("m", 1), model("draft", 2));
    let requests = || [Request::new([1]).id(7).samples(2), Request::new([2]).seed(3).max_tokens(2)];
    let speculative = source.speculate().draft(&draft).block(2).same_text();
    let batch = speculative.generate_batch(requests(), sampled()).unwrap();
    let mut drafted = vec![Vec::new(); batch.rows()];
    batch.filter_map(|event| token_of(event.unwrap())).for_each(|(row, id)| drafted[row].push(id));
    assert_eq!(drafted, texts(&source, requests()));
}

#[test]
fn an_interrupted_text_goes_on_under_its_own_id_seed_and_stops() {
    let (source, draft) = (model("m", 1), model("draft", 2));
    let decoding = |tokens| sampled().max_tokens(tokens);
    let read = |batch: &mut Batch<Host>, texts: &mut [Vec<TokenId>]| {
        batch.filter_map(|event| token_of(event.unwrap())).for_each(|(row, id)| texts[row].push(id));
    };
    let request = |tokens: TokenId, id| Request::new([tokens]).id(id);
    // The last text ends at two tokens in its second half.
    let mut free = vec![Vec::new()];
    read(&mut source.generate_batch([request(3, 5)], decoding(9)).unwrap(), &mut free);
    let requests =
        || [request(1, 7).seed(9), request(2, 3).samples(2), request(3, 5).stop_sequence(&free[0][5..7])];
    let mut whole = vec![Vec::new(); 4];
    read(&mut source.generate_batch(requests(), decoding(9)).unwrap(), &mut whole);
    assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), [9, 9, 9, 5]);

    let speculative = source.speculate().draft(&draft).block(2).same_text();
    for cut in [1, 4] {
        let halves = |drafted: bool, own: bool| {
            let mut texts = vec![Vec::new(); 4];
            let prompts = [1, 2, 2, 3].map(|token| [token].into());
            let evaluator = Evaluator::open(&[&source, &draft], &prompts).unwrap();
            let mut first = Batch::over_requests(evaluator, requests(), decoding(cut)).unwrap();
            read(&mut first, &mut texts);
            let (evaluator, left) = (first.into_evaluator(), decoding(9 - cut));
            let mut rest = match (drafted, own) {
                (true, _) => speculative.over_requests(evaluator, requests(), left).unwrap(),
                (false, true) => Batch::over_requests(evaluator, requests(), left).unwrap(),
                (false, false) => Batch::over(evaluator, left).unwrap(),
            };
            read(&mut rest, &mut texts);
            texts
        };
        assert_eq!(halves(false, true), whole);
        assert_eq!(halves(true, true), whole);
        // Under other settings, every text goes on in another way.
        assert!(halves(false, false).iter().zip(&whole).all(|(text, whole)| text != whole));
    }
}

#[test]
fn requests_that_continue_an_evaluator_are_one_for_each_row() {
    let model = recite(&[1, 2, 3, 4, 5, 6, 7]);
    let opened = || Evaluator::open(&[&model], &[[0].into(), [0].into()]).unwrap();
    let over = |requests: Vec<Request>| Batch::over_requests(opened(), requests, greedy());
    let text = over(vec![Request::new([0]).max_tokens(2), Request::new([0]).until("d")]).unwrap();
    let texts: Vec<_> = text.text().unwrap().read().into_iter().map(Result::unwrap).collect();
    assert_eq!(texts, ["bc", "bc"]);

    for wrong in [vec![], vec![Request::new([0])], vec![Request::new([0]).samples(3)]] {
        assert!(matches!(over(wrong).map(drop), Err(Error::Shape { .. })));
    }
    let wrong = vec![Request::new([0]).samples(usize::MAX), Request::new([0]).samples(2)];
    assert!(matches!(over(wrong).map(drop), Err(Error::Shape { .. })));
    let wrong = vec![Request::new([0]).samples(0), Request::new([0]).samples(2)];
    assert!(matches!(over(wrong).map(drop), Err(Error::InvalidParameter { .. })));
    let wrong = vec![Request::new([0]).samples(2).stop_ids([99])];
    assert!(matches!(over(wrong).map(drop), Err(Error::StopIdOutOfRange { id: 99, .. })));
}

fn token_of(event: Event) -> Option<(usize, TokenId)> {
    match event {
        Event::Token { row, token } => Some((row, token.id)),
        Event::Finished { .. } | Event::Failed { .. } => None,
    }
}

#[test]
fn requests_end_by_their_own_rules() {
    let model = recite(&[1, 2, 3, 4, 5, 6, 7]);
    let requests = [
        Request::new([0]),
        Request::new([0]).max_tokens(2),
        Request::new([0]).max_tokens(0),
        Request::new([0]).stop_ids([3]),
        Request::new([0]).stop_sequence([4, 5]),
        Request::new([0]).stop_sequence([9, 9]),
    ];
    let decoding = Decoding::from(Sampling::greedy()).stop_ids([6]).stop_sequence([5]).max_tokens(7);
    let batch = model.generate_batch(requests, decoding).unwrap();
    let (mut lengths, mut reasons) = ([0; 6], vec![None; 6]);
    for event in batch {
        match event.unwrap() {
            Event::Token { row, .. } => lengths[row] += 1,
            Event::Finished { row, finished } => reasons[row] = Some(finished.reason),
            Event::Failed { error, .. } => panic!("{error}"),
        }
    }
    let reasons: Vec<_> = reasons.into_iter().map(Option::unwrap).collect();
    // The request's own sequences are counted before those of the batch.
    use FinishReason::*;
    let expected = [
        (4, StopSequence(0)),
        (2, MaxTokens),
        (0, MaxTokens),
        (2, EndOfSequence(3)),
        (3, StopSequence(0)),
        (4, StopSequence(1)),
    ];
    assert_eq!(lengths.into_iter().zip(reasons).collect::<Vec<_>>(), expected);

    for wrong in [Request::new([0]).stop_ids([99]), Request::new([0]).stop_sequence([1, 99])] {
        let refused = model.generate_batch([wrong], greedy()).map(drop);
        assert!(matches!(refused, Err(Error::StopIdOutOfRange { id: 99, .. })));
    }
    for wrong in [Request::new([0]).samples(0), Request::new([0]).stop_sequence([])] {
        assert!(matches!(
            model.generate_batch([wrong], greedy()).map(drop),
            Err(Error::InvalidParameter { .. })
        ));
    }
}

#[test]
fn samples_of_a_prompt_differ_and_share_its_prefill() {
    let (source, counts) = counted("m", 1, &[]);
    let batch = source.generate_batch([Request::new([1, 2, 3]).samples(4)], sampled()).unwrap();
    assert_eq!((counts.take(), batch.rows()), ((1, 3), 4));
    drop(batch);
    let four = texts(&source, [Request::new([1, 2, 3]).samples(4)]);
    assert!((1..4).all(|i| four[i] != four[0]));
    // The first sample is the text of a request for one, and more samples do not change the others.
    assert_eq!(texts(&source, [[1, 2, 3]])[0], four[0]);
    let beside =
        texts(&source, [Request::new([9]).samples(2).id(1), Request::new([1, 2, 3]).id(0).samples(2)]);
    assert_eq!(beside[2..], four[..2]);
}

#[test]
fn prompts_that_are_refused_leave_the_others_as_they_are() {
    let source = short_model("short", 1, 4) + model("large", 2);
    let requests = || {
        vec![
            Request::new([1]),
            Request::new([]).samples(2),
            Request::new([1, 2]),
            Request::new([1; 9]),
            Request::new([3, 99]),
            Request::new("text"),
        ]
    };
    let batch = source.generate_batch(requests(), sampled()).unwrap();
    let mut failed = Vec::new();
    let mut tokens = vec![Vec::new(); batch.rows()];
    for event in batch {
        match event.unwrap() {
            Event::Token { row, token } => tokens[row].push(token.id),
            Event::Finished { .. } => {}
            Event::Failed { row, error } => failed.push((row, error)),
        }
    }
    let rows: Vec<_> = failed.iter().map(|(row, _)| *row).collect();
    assert_eq!(rows, [1, 2, 4, 5, 6]);
    assert!(matches!(*failed[0].1, Error::EmptyPrompt { row: 1, .. }));
    assert!(matches!(*failed[2].1, Error::ContextFull { row: 4, asked: 9, room: 4, .. }));
    assert!(matches!(*failed[3].1, Error::TokenOutOfRange { row: 5, token: 99, .. }));
    assert!(matches!(*failed[4].1, Error::CannotRender { .. }));
    // The accepted ones are generated as if they had been alone, with their own ids.
    let alone = texts(&source, [Request::new([1]).id(0), Request::new([1, 2]).id(2)]);
    assert_eq!([&tokens[0], &tokens[3]], [&alone[0], &alone[1]]);

    // If all prompts are refused, no batch is opened.
    let refused = source.generate_batch([vec![], vec![]], sampled()).map(drop);
    assert!(matches!(refused, Err(Error::EmptyPrompt { row: 0, .. })));
}

/// Remembers the rows that it was asked about.
struct Seen(Arc<Mutex<Vec<RowId>>>);

impl Processor for Seen {
    fn edits(&self, history: &History<'_>) -> Result<Vec<Edit>> {
        self.0.lock().unwrap().push(history.row);
        Ok(Vec::new())
    }
}

#[test]
fn processors_see_which_row_it_is() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = [Request::new([1]).id(7).samples(2), Request::new([2])];
    let decoding = sampled().max_tokens(1).processor(Seen(seen.clone()));
    model("m", 1).generate_batch(requests, decoding).unwrap().for_each(|event| drop(event.unwrap()));
    let expected = [(7, 0), (7, 1), (1, 0)].map(|(request, sample)| RowId { request, sample });
    assert_eq!(*seen.lock().unwrap(), expected);
}
