// The search bar over the terminal.

import type { ISearchOptions, SearchAddon } from '@xterm/addon-search';
import { button, el } from './dom.js';

export interface SearchBar {
  node: HTMLElement;
  open(): void;
}

const MARKS = { matchBackground: '#8a6d1d', matchOverviewRuler: '#c9a227', activeMatchBackground: '#d9480f', activeMatchColorOverviewRuler: '#d9480f' };

export function searchNew(search: SearchAddon, back: () => void): SearchBar {
  const input = el('input', { type: 'search', 'aria-label': 'Search in the terminal', placeholder: 'Search', autocomplete: 'off', spellcheck: 'false' });
  const count = el('span', { class: 'count', role: 'status' });
  const withCase = el('input', { type: 'checkbox', change: () => afresh() });
  const node = el('div', { class: 'search', role: 'search', hidden: true }, input, count,
    button('Previous', () => find(false), { 'aria-label': 'Previous match' }), button('Next', () => find(true), { 'aria-label': 'Next match' }),
    el('label', { class: 'check' }, withCase, 'Match case'), button('Close', () => close()));

  function find(isForward: boolean, isIncremental = false): void {
    const options: ISearchOptions = { caseSensitive: withCase.checked, decorations: MARKS, incremental: isForward && isIncremental };
    if (!input.value) {
      search.clearDecorations();
      count.textContent = '';
    } else if (!(isForward ? search.findNext(input.value, options) : search.findPrevious(input.value, options))) {
      count.textContent = 'not found';
    }
  }
  /** The addon marks and counts the same word only once, whatever else is asked. */
  function afresh(): void {
    search.clearDecorations();
    find(true, true);
  }
  function close(): void {
    node.hidden = true;
    search.clearDecorations();
    back();
  }
  search.onDidChangeResults(({ resultIndex, resultCount }) => {
    if (input.value) count.textContent = resultCount === 0 ? 'not found' : resultIndex < 0 ? `${resultCount} matches` : `${resultIndex + 1} of ${resultCount}`;
  });
  input.addEventListener('input', () => find(true, true));
  node.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') close();
    else if (event.key === 'Enter' && event.target === input) find(!event.shiftKey);
    else return;
    event.preventDefault();
  });
  return {
    node,
    open() {
      node.hidden = false;
      input.focus();
      input.select();
    },
  };
}
