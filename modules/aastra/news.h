/**
 * @file news.h  What can be new about a line
 *
 * Copyright (C) 2026 The baresip-aastra authors
 */
#ifndef AASTRA_NEWS_H
#define AASTRA_NEWS_H

/** What is new */
enum aa_news {
	AA_NEWS_STATE = 0,      /**< what `aastra_state` says of a line     */
	AA_NEWS_HISTORY,        /**< an entry was added to the history      */
	AA_NEWS_LAMP            /**< the value of a subscription            */
};

#endif
