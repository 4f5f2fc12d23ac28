import { expect, it } from 'vitest';
import { toggleMark } from './format';

/** The selection as brackets in the text. */
function check(before: string, mark: string, after: string) {
  const read = (text: string) => ({
    text: text.replace(/[[\]]/g, ''),
    start: text.indexOf('['),
    end: text.indexOf(']') - 1,
  });
  expect(toggleMark(read(before), mark)).toEqual(read(after));
}

it('puts marks around the selection and keeps it selected', () => {
  check('say [this] now', '**', 'say **[this]** now');
  check('[all]', '`', '`[all]`');
});

it('leaves blanks at the edges outside, or the marks would not count', () =>
  check('say[ this ]now', '*', 'say *[this]* now'));

it('takes marks away, whether they are selected or around', () => {
  check('say **[this]** now', '**', 'say [this] now');
  check('say [**this**] now', '**', 'say [this] now');
});

it('does not take half of a bold for an italic', () =>
  check('say **[this]** now', '*', 'say ***[this]*** now'));

it('opens an empty pair where nothing is selected', () => {
  check('a []', '**', 'a **[]**');
  check('[]', '**', '**[]**');
});
