// @podterm/terminal: a terminal session of podterm in a page.

export { attach } from './attach.js';
export type { Attachment, AttachOptions } from './attach.js';
export type { Events, State } from './course.js';
export { CELLS_MAX, ProtocolError, SUBPROTOCOL } from './frame.js';
export type { Signal } from './frame.js';
export type { Host, Socket } from './host.js';
export type { Role } from './link.js';
export { plain } from './plain.js';
export { endOfRecord, stageOf } from './reply.js';
export type { End, Ready, Size, Stage } from './reply.js';
export { boundedBody, controllerTickets, TicketError } from './tickets.js';
export type { ControllerTickets, Ticket, TicketProvider } from './tickets.js';
export { endSentence } from './words.js';
